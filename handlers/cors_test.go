package handlers_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// newCORSDeployment returns a deployment with a client for each of the origins.
func newCORSDeployment(t *testing.T, o testserver.Options) *testserver.Deployment {
	t.Helper()
	d := testserver.NewDeployment(t, o)
	other, acme := testserver.Web(), testserver.Web()
	other.ID, other.Origins, acme.Origins = "other", []string{testserver.OriginOther}, []string{testserver.OriginAcme}
	d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), other), testserver.Tenant("acme", d.Issuer, acme))
	return d
}

func preflight(method string) testserver.Option {
	return func(r *http.Request) {
		r.Header.Set("Access-Control-Request-Method", method)
		r.Header.Set("Access-Control-Request-Headers", "authorization, content-type")
	}
}

// containsAll reports whether a list of allowed headers has all of the given ones.
func containsAll(allowed string, names ...string) bool {
	list := strings.Split(allowed, ", ")
	for _, name := range names {
		if !slices.Contains(list, name) {
			return false
		}
	}
	return true
}

func TestPublicDocumentsAreForEveryOrigin(t *testing.T) {
	d := newCORSDeployment(t, testserver.OnSQLite(t))
	for _, path := range []string{
		"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/t/acme/.well-known/jwks.json",
		"/t/acme/.well-known/openid-configuration", "/t/acme/.well-known/oauth-authorization-server", "/.well-known/openid-configuration/t/acme", "/.well-known/oauth-authorization-server/t/acme",
	} {
		for _, o := range []string{"", testserver.OriginWeb, testserver.OriginEvil, "null"} {
			a := d.Want(200, "", d.Get(path, testserver.Origin(o)))
			testserver.WantAllowedOrigin(t, path, a, "*")
			testserver.WantAllowedOrigin(t, "HEAD "+path, d.Do(http.MethodHead, path, nil, testserver.Origin(o)), "*")
			testserver.WantAllowedOrigin(t, path+" unchanged", d.Get(path, testserver.Origin(o), testserver.Header("If-None-Match", a.Header.Get("ETag"))), "*")
		}
	}
}

func TestPreflightsAllowTheOriginsOfTheTenant(t *testing.T) {
	d := newCORSDeployment(t, testserver.OnSQLite(t))
	for path, registered := range map[string][]string{
		"/token": {testserver.OriginWeb, testserver.OriginOther}, "/revoke": {testserver.OriginWeb, testserver.OriginOther}, "/t/acme/token": {testserver.OriginAcme}, "/t/acme/revoke": {testserver.OriginAcme},
		"/session": {testserver.OriginWeb, testserver.OriginOther}, "/sessions": {testserver.OriginWeb, testserver.OriginOther}, "/sessions/x": {testserver.OriginWeb, testserver.OriginOther}, "/userinfo": {testserver.OriginWeb, testserver.OriginOther}, "/t/acme/sessions": {testserver.OriginAcme},
	} {
		allowed := "POST"
		switch {
		case strings.Contains(path, "/session"):
			allowed = "GET, DELETE"
		case path == "/userinfo":
			allowed = "GET, POST"
		}
		for _, o := range []string{testserver.OriginWeb, testserver.OriginOther, testserver.OriginAcme, testserver.OriginEvil, "null", "*", "", "http://app.example.com", "https://APP.example.com", testserver.OriginWeb + ":443", testserver.OriginWeb + "/", "https://app.example.com.evil.example", "https://sub.app.example.com"} {
			a := d.Do(http.MethodOptions, path, nil, testserver.Origin(o), preflight("POST"))
			want := ""
			if slices.Contains(registered, o) {
				want = o
			}
			testserver.WantAllowedOrigin(t, path+" from "+o, a, want)
			h := a.Header
			if a.Status != 204 || !slices.Contains(h.Values("Vary"), "Origin") || len(a.Body) != 0 {
				t.Errorf("%s from %s: %d %v", path, o, a.Status, h)
			}
			methods, headers, age := h.Get("Access-Control-Allow-Methods"), h.Get("Access-Control-Allow-Headers"), h.Get("Access-Control-Max-Age")
			if want != "" && (methods != allowed || !containsAll(headers, "Authorization", "Content-Type", "DPoP", "traceparent", "tracestate", "baggage", "X-Request-Id") || age != "600") || want == "" && methods+headers+age != "" {
				t.Errorf("%s from %s: %v", path, o, h)
			}
		}
	}
	d.Want(404, "not_found", d.Do(http.MethodOptions, "/t/nobody/token", nil, testserver.Origin(testserver.OriginWeb), preflight("POST")))
}

func TestResponsesAllowTheOriginsOfTheirClient(t *testing.T) {
	d := newCORSDeployment(t, testserver.OnSQLite(t))
	session := d.SignIn("alice")
	for name, c := range map[string]struct {
		path   string
		form   []string
		status int
		known  bool // whether the client is known
	}{
		"a successful request to /token":  {"/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", session.Text("refresh_token")}, 200, true},
		"a successful request to /revoke": {"/revoke", []string{"client_id", "web", "token", "x"}, 200, true},
		"a refusal by the grant":          {"/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", "x"}, 400, true},
		"a refusal by /revoke":            {"/revoke", []string{"client_id", "web"}, 400, true},
		"a failed authentication":         {"/token", []string{"grant_type", "refresh_token", "client_id", "web", "client_secret", "x"}, 401, false},
		"an unknown client":               {"/revoke", []string{"client_id", "nobody", "token", "x"}, 401, false},
		"no grant_type":                   {"/token", []string{"client_id", "web"}, 400, false},
		"a malformed request":             {"/token", []string{"client_id", "web", "client_id", "web"}, 400, false},
		"a request that is too long":      {"/token", []string{"a", string(make([]byte, 70_000))}, 413, false},
	} {
		for _, o := range []string{testserver.OriginWeb, testserver.OriginOther, testserver.OriginAcme, testserver.OriginEvil, "null", ""} {
			a := d.Post(c.path, c.form, testserver.Origin(o))
			want := ""
			if o == testserver.OriginWeb || o == testserver.OriginOther && !c.known {
				want = o
			}
			testserver.WantAllowedOrigin(t, name+" from "+o, a, want)
			status := c.status
			if o != "" && want == "" {
				status = 403
			}
			if a.Status != status || !slices.Contains(a.Header.Values("Vary"), "Origin") {
				t.Errorf("%s from %s: %d %v", name, o, a.Status, a.Header)
			}
			if exposed := a.Header.Get("Access-Control-Expose-Headers"); want != "" && exposed != "WWW-Authenticate, DPoP-Nonce, Retry-After, X-Request-Id" {
				t.Errorf("%s: exposes %q", name, exposed)
			}
		}
	}
}

func TestTheSessionAPIAllowsTheOriginsOfItsClient(t *testing.T) {
	d := newCORSDeployment(t, testserver.OnSQLite(t))
	a, expired := d.SignIn("alice"), d.SignIn("alice")
	foreign := d.SignIn("alice", "audience", "https://api.example.com")
	d.Clock.Advance(5 * time.Minute)
	a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
	for name, c := range map[string]struct {
		request string
		opts    []testserver.Option
		status  int
		known   bool // the client
	}{
		"a session":                    {"GET /session", []testserver.Option{testserver.AsBearer(a)}, 200, true},
		"the userinfo":                 {"GET /userinfo", []testserver.Option{testserver.AsBearer(a)}, 200, true},
		"the userinfo by POST":         {"POST /userinfo", []testserver.Option{testserver.AsBearer(a)}, 200, true},
		"a list":                       {"GET /sessions", []testserver.Option{testserver.AsBearer(a)}, 200, true},
		"the end of sessions":          {"DELETE /sessions?scope=others", []testserver.Option{testserver.AsBearer(a)}, 204, true},
		"an unknown session":           {"GET /sessions/x", []testserver.Option{testserver.AsBearer(a)}, 404, true},
		"a bad parameter":              {"DELETE /sessions", []testserver.Option{testserver.AsBearer(a)}, 400, true},
		"an expired token":             {"GET /session", []testserver.Option{testserver.AsBearer(expired)}, 401, true},
		"a token for another audience": {"DELETE /session", []testserver.Option{testserver.AsBearer(foreign)}, 401, true},
		"no token":                     {"GET /session", nil, 401, false},
		"an unknown token":             {"GET /session", []testserver.Option{testserver.Authorization("Bearer x")}, 401, false},
		"a method that is not served":  {"PUT /sessions/x", []testserver.Option{testserver.AsBearer(a)}, 405, false},
	} {
		for _, o := range []string{testserver.OriginWeb, testserver.OriginOther, testserver.OriginAcme, testserver.OriginEvil, "null", ""} {
			answer := d.Request(c.request, append(c.opts, testserver.Origin(o))...)
			want := ""
			if o == testserver.OriginWeb || o == testserver.OriginOther && !c.known {
				want = o
			}
			testserver.WantAllowedOrigin(t, name+" from "+o, answer, want)
			status := c.status
			if o != "" && want == "" && status != 405 {
				status = 403
			}
			if answer.Status != status || !slices.Contains(answer.Header.Values("Vary"), "Origin") {
				t.Errorf("%s from %s: %d %s", name, o, answer.Status, answer.Body)
			}
		}
	}
}

func TestBackEndsCannotManageSessionsFromABrowser(t *testing.T) {
	d := testserver.NewSessionDeployment(t, testserver.OnSQLite(t))
	sid := "/sessions/" + d.SignIn("alice").Text("session_id")
	for request, status := range map[string]int{
		"GET /sessions?sub=alice": 200, "GET " + sid: 200, "POST " + sid + "/extend": 400, "PUT " + sid + "/extend": 405, "DELETE " + sid: 204, "DELETE /sessions?sub=alice": 204,
	} {
		for name, secret := range map[string]string{"right": testserver.SupportSecret, "wrong": "wrong"} {
			answer := d.Request(request, testserver.Basic("support", secret), testserver.Origin(testserver.OriginWeb))
			if want := max(status, 403); answer.Status != want { // 405 comes first
				t.Errorf("%s with a %s secret: %d %s", request, name, answer.Status, answer.Body)
			}
			testserver.WantAllowedOrigin(t, request+" with a "+name+" secret", answer, "")
		}
	}
	testserver.WantAllowedOrigin(t, "a preflight", d.Want(405, "invalid_request", d.Do(http.MethodOptions, sid+"/extend", nil, testserver.Origin(testserver.OriginWeb), preflight("POST"))), "")
}

func TestBrowsersCannotIntrospect(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := newCORSDeployment(t, testserver.Options{DatabaseURL: proxy.URL()})
	for name, a := range map[string]*testserver.Answer{
		"a preflight":  d.Want(405, "invalid_request", d.Do(http.MethodOptions, "/introspect", nil, testserver.Origin(testserver.OriginWeb), preflight("POST"))),
		"a request":    d.Want(403, "invalid_request", d.Post("/introspect", []string{"token", "x"}, testserver.AsBackend(), testserver.Origin(testserver.OriginWeb))),
		"a signed one": d.Want(403, "invalid_request", d.Post("/introspect", []string{"token", "x"}, testserver.AsBackend(), testserver.Origin(testserver.OriginWeb), testserver.Accept(testserver.IntrospectionJWT))),
		"a refusal":    d.Want(403, "invalid_request", d.Post("/introspect", []string{"token", "x", "client_id", "web"}, testserver.Origin(testserver.OriginWeb))),
	} {
		testserver.WantAllowedOrigin(t, name, a, "")
	}
	proxy.Cut()
	d.Clock.Advance(time.Minute) // longer than a node relies on what it has loaded
	testserver.WantAllowedOrigin(t, "an outage", d.Want(503, "temporarily_unavailable", d.Post("/introspect", []string{"token", "x"}, testserver.AsBackend(), testserver.Origin(testserver.OriginWeb))), "")
	testserver.WantAllowedOrigin(t, "an outage of /revoke", d.Want(503, "temporarily_unavailable", d.Post("/revoke", []string{"token", "x", "client_id", "web"}, testserver.Origin(testserver.OriginWeb))), testserver.OriginWeb)
}

func TestOtherPathsAllowNoOrigin(t *testing.T) {
	d := newCORSDeployment(t, testserver.OnSQLite(t))
	for _, path := range []string{"/authorize", "/logout", "/t/acme/authorize", "/healthz", "/readyz", "/"} {
		for _, o := range []string{testserver.OriginWeb, testserver.OriginAcme} {
			for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodPost} {
				testserver.WantAllowedOrigin(t, method+" "+path, d.Do(method, path, nil, testserver.Origin(o), preflight("GET")), "")
			}
		}
	}
}

func TestTheOriginsOfTheTenantMayReadARefusedMethod(t *testing.T) {
	d := newCORSDeployment(t, testserver.OnSQLite(t))
	for path, allowed := range map[string]string{"/token": testserver.OriginWeb, "/revoke": testserver.OriginOther, "/t/acme/token": testserver.OriginAcme, "/introspect": "", "/t/nobody/token": ""} {
		for _, o := range []string{testserver.OriginWeb, testserver.OriginOther, testserver.OriginAcme, testserver.OriginEvil} {
			want := ""
			if o == allowed || allowed == testserver.OriginWeb && o == testserver.OriginOther || allowed == testserver.OriginOther && o == testserver.OriginWeb {
				want = o
			}
			a := d.Do(http.MethodPut, path, nil, testserver.Origin(o))
			if a.Status != 405 {
				t.Errorf("PUT %s: %d", path, a.Status)
			}
			testserver.WantAllowedOrigin(t, path+" from "+o, a, want)
		}
	}
}
