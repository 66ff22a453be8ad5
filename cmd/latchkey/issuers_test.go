package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestApplyAndServeWarnAboutAMismatchedIssuer(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.EmptySQLite(t))
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`{"issuer":"http://` + r.Host + `/","jwks_uri":"http://` + r.Host + `/keys"}`))
	}))
	defer provider.Close()
	d.edit(d.issuer.URL, provider.URL)
	const problem = "issuer in the discovery document does not match the configuration"
	for _, args := range [][]string{{"apply", "--dry-run"}, {"apply"}, {"apply", "--dry-run"}} {
		code, _, stderr := run(t, nil, append(args, "--config", d.file)...)
		want := "Warning: trusted issuer " + provider.URL + ": " + problem + `: expected "` + provider.URL + `", received "` + provider.URL + `/"; set issuer exactly as in the document. `
		if code != 0 || strings.Count(stderr, want) != 1 {
			t.Errorf("%v: exit code %d\n%swant %s", args, code, stderr, want)
		}
	}
	at := d.serve()
	eventually(t, "the warning", func() bool { return strings.Contains(at.err.String(), problem) })
	if text := at.err.String(); strings.Count(text, problem) != 1 || !strings.Contains(text, `"expected":"\"`+provider.URL+`\""`) {
		t.Errorf("the log is\n%s", text)
	}
}

func TestApplyAndServeContinueWithoutAnUnreachableIssuer(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.EmptySQLite(t))
	provider := httptest.NewServer(nil)
	provider.Close()
	d.edit(d.issuer.URL, provider.URL)
	code, _, stderr := run(t, nil, "apply", "--config", d.file)
	if code != 0 || !strings.Contains(stderr, "Note: trusted issuer "+provider.URL+" was not checked: ") || strings.Contains(stderr, "Warning") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	at := d.serve()
	eventually(t, "the note", func() bool { return strings.Contains(at.err.String(), "cannot be fetched yet") })
	if text := at.err.String(); strings.Contains(text, `"level":"WARN"`) {
		t.Errorf("the log is\n%s", text)
	}
}
