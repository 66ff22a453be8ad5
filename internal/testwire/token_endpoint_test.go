package testwire

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

// endpointCase is a request that a form endpoint rejects before any grant.
type endpointCase struct {
	name   string
	path   string // default /token
	body   string
	opts   []testserver.Option
	status int
	code   string
}

func TestTokenEndpointRejectsMalformedRequests(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	refresh := "grant_type=refresh_token&client_id=web&refresh_token=x"
	for _, c := range []endpointCase{
		{name: "JSON", body: `{"grant_type":"refresh_token"}`, opts: []testserver.Option{testserver.ContentType("application/json")}, status: 400, code: "invalid_request"},
		{name: "multipart", body: "--b\r\n", opts: []testserver.Option{testserver.ContentType("multipart/form-data; boundary=b")}, status: 400, code: "invalid_request"},
		{name: "no content type", body: refresh, opts: []testserver.Option{testserver.ContentType("")}, status: 400, code: "invalid_request"},
		{name: "a charset is tolerated", body: refresh, opts: []testserver.Option{testserver.ContentType(testserver.FormType + "; charset=utf-8")}, status: 400, code: testserver.InvalidGrant},
		{name: "an empty body", body: "", status: 400, code: "invalid_request"},
		{name: "no grant_type", body: "client_id=web", status: 400, code: "invalid_request"},
		{name: "an empty grant_type", body: "client_id=web&grant_type=", status: 400, code: "invalid_request"},
		{name: "grant_type twice", body: refresh + "&grant_type=refresh_token", status: 400, code: "invalid_request"},
		{name: "an unknown parameter twice", body: refresh + "&x=1&x=2", status: 400, code: "invalid_request"},
		{name: "an unknown parameter is ignored", body: refresh + "&x=1", status: 400, code: testserver.InvalidGrant},
		{name: "an empty parameter is absent", body: refresh + "&scope=", status: 400, code: testserver.InvalidGrant},
		{name: "bad percent-encoding", body: refresh + "&a=%ZZ", status: 400, code: "invalid_request"},
		{name: "invalid UTF-8", body: refresh + "&a=%ff", status: 400, code: "invalid_request"},
		{name: "NUL", body: refresh + "&a=%00", status: 400, code: "invalid_request"},
		{name: "a secret in the URL", path: "/token?client_secret=x", body: refresh, status: 400, code: "invalid_request"},
		{name: "a token in the URL", path: "/token?refresh_token=x", body: refresh, status: 400, code: "invalid_request"},
		{name: "101 parameters", body: refresh + distinct(98), status: 400, code: "invalid_request"},
		{name: "100 parameters", body: refresh + distinct(97), status: 400, code: testserver.InvalidGrant},
		{name: "a body over 64 KiB", body: refresh + "&a=" + strings.Repeat("a", 64<<10), status: 413, code: "invalid_request"},
		{name: "a token over 16 KiB", body: refresh + strings.Repeat("x", 16<<10), status: 400, code: "invalid_request"},
		{name: "a grant by its short name", body: "client_id=web&grant_type=token-exchange", status: 400, code: "unsupported_grant_type"},
		{name: "an unknown grant", body: "client_id=web&grant_type=made-up", status: 400, code: "unsupported_grant_type"},
		{name: "the password grant", body: "client_id=web&grant_type=password&username=a&password=b", status: 400, code: "unsupported_grant_type"},
		{name: "a grant in capitals", body: "client_id=web&grant_type=REFRESH_TOKEN", status: 400, code: "unsupported_grant_type"},
		{name: "two grants in one", body: "client_id=web&grant_type=refresh_token+refresh_token", status: 400, code: "unsupported_grant_type"},
		{name: "a grant that the client lacks", body: "client_id=web&grant_type=client_credentials", status: 400, code: "unauthorized_client"},
		{name: "no refresh_token", body: "client_id=web&grant_type=refresh_token", status: 400, code: "invalid_request"},
		{name: "a scope not of the client", body: "grant_type=client_credentials&scope=admin", opts: []testserver.Option{testserver.BasicText("backend:" + testserver.ClientSecret)}, status: 400, code: "invalid_scope"},
		{name: "a scope in capitals", body: "grant_type=client_credentials&scope=PROFILE", opts: []testserver.Option{testserver.BasicText("backend:" + testserver.ClientSecret)}, status: 400, code: "invalid_scope"},
		{name: "a target not of the client", body: "grant_type=client_credentials&audience=web", opts: []testserver.Option{testserver.BasicText("backend:" + testserver.ClientSecret)}, status: 400, code: "invalid_target"},
	} {
		t.Run(c.name, func(t *testing.T) { rejects(d, t, c) })
	}
}

// distinct returns the end of a form: n parameters with different names.
func distinct(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&p%d=1", i)
	}
	return b.String()
}

// rejects sends the case and checks the properties of every error.
func rejects(d *testserver.Deployment, t *testing.T, c endpointCase) {
	t.Helper()
	if c.path == "" {
		c.path = "/token"
	}
	a := d.Do(http.MethodPost, c.path, strings.NewReader(c.body), append([]testserver.Option{testserver.ContentType(testserver.FormType)}, c.opts...)...)
	if a.Status != c.status || a.Error() != c.code {
		t.Fatalf("status %d %s, want %d %s", a.Status, a.Body, c.status, c.code)
	}
	if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Pragma") != "no-cache" {
		t.Errorf("headers %v", a.Header)
	}
	challenge := ""
	if c.status == 401 {
		challenge = `Basic realm="` + d.URL + `"`
	}
	if got := a.Header.Get("WWW-Authenticate"); got != challenge {
		t.Errorf("status %d with WWW-Authenticate %q", c.status, got)
	}
	for name := range a.JSON {
		if name != "error" && name != "error_description" && name != "latchkey_reason" {
			t.Errorf("member %s", name)
		}
	}
}

func TestSuccessRespondsAsInRFC6749(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	a := d.SignIn("alice")
	if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Pragma") != "no-cache" {
		t.Errorf("headers %v", a.Header)
	}
	got := testserver.Claims(t, a)
	if a.JSON["expires_in"] != got["exp"].(float64)-got["iat"].(float64) || a.Text("token_type") != "Bearer" || a.Text("scope") != "profile orders:read" {
		t.Errorf("%s", a.Body)
	}
	if a.Text("issued_token_type") != "urn:ietf:params:oauth:token-type:access_token" {
		t.Errorf("%s", a.Body)
	}
	b := d.SignIn("alice", "requested_token_type", "urn:ietf:params:oauth:token-type:jwt")
	if b.Text("issued_token_type") != "urn:ietf:params:oauth:token-type:jwt" {
		t.Errorf("%s", b.Body)
	}
}
