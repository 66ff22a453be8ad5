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

func TestApplyAndServeReportAClaimThatNothingYields(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.EmptySQLite(t))
	const note = "! the claim plan is in no token unless user.plam is set over the API"
	d.edit("claims: { plan: user.plan }", "claims: { plan: user.plam }")
	if printed := d.run("apply", "--dry-run"); strings.Count(printed, note) != 1 {
		t.Errorf("apply prints\n%s", printed)
	}
	at := d.serve()
	eventually(t, "the line in the log", func() bool { return strings.Contains(at.err.String(), `"attribute":"user.plam"`) })
	d.write("latchkey.yaml", d.text()+"    users: [{ sub: alice, attributes: { plam: pro } }]\n")
	d.edit("claims: { plan: user.plam }", "claims: { plan: user.plam, other: user.sub }")
	if printed := d.run("apply", "--dry-run"); strings.Contains(printed, "in no token") || !strings.Contains(printed, "client web") {
		t.Errorf("with such a user, apply prints\n%s", printed)
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
