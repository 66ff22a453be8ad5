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

func origin(o string) testserver.Option { return testserver.Header("Origin", o) }

// Origins of browser apps: of the client web, of another client, of another
// tenant's client, and of nobody.
const (
	ofWeb   = "https://app.example.com"
	ofOther = "https://other.example.com"
	ofAcme  = "https://acme.example.com"
	ofEvil  = "https://evil.example"
)

// newCORSWorld has a client for each of the origins.
func newCORSWorld(t *testing.T, o testserver.Options) *world {
	t.Helper()
	w := newWorld(t, o)
	other, acme := testserver.Web(), testserver.Web()
	other.ID, other.Origins, acme.Origins = "other", []string{ofOther}, []string{ofAcme}
	w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend(), other), testserver.Tenant("acme", w.issuer, acme))
	return w
}

// allows checks which origin an answer lets read it.
func allows(t *testing.T, what string, a *testserver.Answer, want string) {
	t.Helper()
	h := a.Header
	if got := h.Values("Access-Control-Allow-Origin"); want == "" && len(got) > 0 || want != "" && !slices.Equal(got, []string{want}) {
		t.Errorf("%s: answered %d, allows %q, want %q", what, a.Status, got, want)
	}
	if h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%s: allows cookies", what)
	}
}

func preflight(method string) testserver.Option {
	return func(r *http.Request) {
		r.Header.Set("Access-Control-Request-Method", method)
		r.Header.Set("Access-Control-Request-Headers", "authorization, content-type")
	}
}

func TestPublicDocumentsAreForEveryOrigin(t *testing.T) {
	w := newCORSWorld(t, sqlite(t))
	for _, path := range []string{
		"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/t/acme/.well-known/jwks.json",
		"/t/acme/.well-known/openid-configuration", "/t/acme/.well-known/oauth-authorization-server", "/.well-known/openid-configuration/t/acme", "/.well-known/oauth-authorization-server/t/acme",
	} {
		for _, o := range []string{"", ofWeb, ofEvil, "null"} {
			a := w.want(200, "", w.Get(path, origin(o)))
			allows(t, path, a, "*")
			allows(t, "HEAD "+path, w.Do(http.MethodHead, path, nil, origin(o)), "*")
			allows(t, path+" unchanged", w.Get(path, origin(o), testserver.Header("If-None-Match", a.Header.Get("ETag"))), "*")
		}
	}
}

func TestPreflightsAreForTheTenantsOrigins(t *testing.T) {
	w := newCORSWorld(t, sqlite(t))
	for path, registered := range map[string][]string{
		"/token": {ofWeb, ofOther}, "/revoke": {ofWeb, ofOther}, "/t/acme/token": {ofAcme}, "/t/acme/revoke": {ofAcme},
		"/session": {ofWeb, ofOther}, "/sessions": {ofWeb, ofOther}, "/sessions/x": {ofWeb, ofOther}, "/userinfo": {ofWeb, ofOther}, "/t/acme/sessions": {ofAcme},
	} {
		allowed := "POST"
		switch {
		case strings.Contains(path, "/session"):
			allowed = "GET, DELETE"
		case path == "/userinfo":
			allowed = "GET, POST"
		}
		for _, o := range []string{ofWeb, ofOther, ofAcme, ofEvil, "null", "*", "", "http://app.example.com", "https://APP.example.com", ofWeb + ":443", ofWeb + "/", "https://app.example.com.evil.example", "https://sub.app.example.com"} {
			a := w.Do(http.MethodOptions, path, nil, origin(o), preflight("POST"))
			want := ""
			if slices.Contains(registered, o) {
				want = o
			}
			allows(t, path+" from "+o, a, want)
			h := a.Header
			if a.Status != 204 || !slices.Contains(h.Values("Vary"), "Origin") || len(a.Body) != 0 {
				t.Errorf("%s from %s: %d %v", path, o, a.Status, h)
			}
			methods, headers, age := h.Get("Access-Control-Allow-Methods"), h.Get("Access-Control-Allow-Headers"), h.Get("Access-Control-Max-Age")
			if want != "" && (methods != allowed || headers != "Authorization, Content-Type, DPoP" || age != "600") || want == "" && methods+headers+age != "" {
				t.Errorf("%s from %s: %v", path, o, h)
			}
		}
	}
	w.want(404, "not_found", w.Do(http.MethodOptions, "/t/nobody/token", nil, origin(ofWeb), preflight("POST")))
}

func TestAnswersAreForTheirClientsOrigins(t *testing.T) {
	w := newCORSWorld(t, sqlite(t))
	session := w.signIn("alice")
	for name, c := range map[string]struct {
		path   string
		form   []string
		status int
		known  bool // the client
	}{
		"a success of /token":            {"/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", session.Text("refresh_token")}, 200, true},
		"a success of /revoke":           {"/revoke", []string{"client_id", "web", "token", "x"}, 200, true},
		"a refusal by the grant":         {"/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", "x"}, 400, true},
		"a refusal by /revoke":           {"/revoke", []string{"client_id", "web"}, 400, true},
		"a failed authentication":        {"/token", []string{"grant_type", "refresh_token", "client_id", "web", "client_secret", "x"}, 401, false},
		"an unknown client":              {"/revoke", []string{"client_id", "nobody", "token", "x"}, 401, false},
		"no grant_type":                  {"/token", []string{"client_id", "web"}, 400, false},
		"a request that cannot be read":  {"/token", []string{"client_id", "web", "client_id", "web"}, 400, false},
		"a request that is far too long": {"/token", []string{"a", string(make([]byte, 70_000))}, 413, false},
	} {
		for _, o := range []string{ofWeb, ofOther, ofAcme, ofEvil, "null", ""} {
			a := w.Post(c.path, c.form, origin(o))
			want := ""
			if o == ofWeb || o == ofOther && !c.known {
				want = o
			}
			allows(t, name+" from "+o, a, want)
			if a.Status != c.status || !slices.Contains(a.Header.Values("Vary"), "Origin") {
				t.Errorf("%s from %s: %d %v", name, o, a.Status, a.Header)
			}
			if exposed := a.Header.Get("Access-Control-Expose-Headers"); want != "" && exposed != "WWW-Authenticate, DPoP-Nonce, Retry-After" {
				t.Errorf("%s: exposes %q", name, exposed)
			}
		}
	}
}

func TestTheSessionAPIIsForItsClientsOrigins(t *testing.T) {
	w := newCORSWorld(t, sqlite(t))
	a, expired := w.signIn("alice"), w.signIn("alice")
	foreign := w.signIn("alice", "audience", "https://api.example.com")
	w.Clock.Advance(5 * time.Minute)
	a = w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
	for name, c := range map[string]struct {
		request string
		opts    []testserver.Option
		status  int
		known   bool // the client
	}{
		"a session":                   {"GET /session", []testserver.Option{as(a)}, 200, true},
		"the user":                    {"GET /userinfo", []testserver.Option{as(a)}, 200, true},
		"the user by POST":            {"POST /userinfo", []testserver.Option{as(a)}, 200, true},
		"a list":                      {"GET /sessions", []testserver.Option{as(a)}, 200, true},
		"an end":                      {"DELETE /sessions?scope=others", []testserver.Option{as(a)}, 204, true},
		"an unknown session":          {"GET /sessions/x", []testserver.Option{as(a)}, 404, true},
		"a bad parameter":             {"DELETE /sessions", []testserver.Option{as(a)}, 400, true},
		"an expired token":            {"GET /session", []testserver.Option{as(expired)}, 401, true},
		"a token for another":         {"DELETE /session", []testserver.Option{as(foreign)}, 401, true},
		"no token":                    {"GET /session", nil, 401, false},
		"a token that nobody made":    {"GET /session", []testserver.Option{authorization("Bearer x")}, 401, false},
		"a method that is not served": {"PUT /sessions/x", []testserver.Option{as(a)}, 405, false},
	} {
		for _, o := range []string{ofWeb, ofOther, ofAcme, ofEvil, "null", ""} {
			answer := w.ask(c.request, append(c.opts, origin(o))...)
			want := ""
			if o == ofWeb || o == ofOther && !c.known {
				want = o
			}
			allows(t, name+" from "+o, answer, want)
			if answer.Status != c.status || !slices.Contains(answer.Header.Values("Vary"), "Origin") {
				t.Errorf("%s from %s: %d %s", name, o, answer.Status, answer.Body)
			}
		}
	}
}

func TestBackEndsManageSessionsFromNoBrowser(t *testing.T) {
	w := newSessionWorld(t, sqlite(t))
	sid := "/sessions/" + w.signIn("alice").Text("session_id")
	for request, status := range map[string]int{
		"GET /sessions?sub=alice": 200, "GET " + sid: 200, "POST " + sid + "/extend": 400, "PUT " + sid + "/extend": 405, "DELETE " + sid: 204, "DELETE /sessions?sub=alice": 204,
	} {
		for name, secret := range map[string]string{"right": supportSecret, "wrong": "wrong"} {
			answer := w.ask(request, testserver.Basic("support", secret), origin(ofWeb))
			if name == "right" && answer.Status != status {
				t.Errorf("%s: %d %s", request, answer.Status, answer.Body)
			}
			allows(t, request+" with a "+name+" secret", answer, "")
		}
	}
	allows(t, "a preflight", w.want(405, "invalid_request", w.Do(http.MethodOptions, sid+"/extend", nil, origin(ofWeb), preflight("POST"))), "")
}

func TestIntrospectionIsForNoBrowser(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	w := newCORSWorld(t, testserver.Options{DatabaseURL: proxy.URL()})
	for name, a := range map[string]*testserver.Answer{
		"a preflight":  w.want(405, "invalid_request", w.Do(http.MethodOptions, "/introspect", nil, origin(ofWeb), preflight("POST"))),
		"a success":    w.want(200, "", w.Post("/introspect", []string{"token", "x"}, asBackend(), origin(ofWeb))),
		"a signed one": w.want(200, "", w.Post("/introspect", []string{"token", "x"}, asBackend(), origin(ofWeb), accept(introspectionJWT))),
		"a refusal":    w.want(401, "invalid_client", w.Post("/introspect", []string{"token", "x", "client_id", "web"}, origin(ofWeb))),
	} {
		allows(t, name, a, "")
	}
	proxy.Cut()
	w.Clock.Advance(time.Minute) // longer than a node trusts what it knows
	allows(t, "an outage", w.want(503, "temporarily_unavailable", w.Post("/introspect", []string{"token", "x"}, asBackend(), origin(ofWeb))), "")
	allows(t, "an outage of /revoke", w.want(503, "temporarily_unavailable", w.Post("/revoke", []string{"token", "x", "client_id", "web"}, origin(ofWeb))), ofWeb)
}

func TestPagesAreForNoScript(t *testing.T) {
	w := newCORSWorld(t, sqlite(t))
	for _, path := range []string{"/authorize", "/logout", "/t/acme/authorize", "/healthz", "/readyz", "/"} {
		for _, o := range []string{ofWeb, ofAcme} {
			for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodPost} {
				allows(t, method+" "+path, w.Do(method, path, nil, origin(o), preflight("GET")), "")
			}
		}
	}
}

func TestARefusedMethodCanBeReadByTheTenantsBrowsers(t *testing.T) {
	w := newCORSWorld(t, sqlite(t))
	for path, allowed := range map[string]string{"/token": ofWeb, "/revoke": ofOther, "/t/acme/token": ofAcme, "/introspect": "", "/t/nobody/token": ""} {
		for _, o := range []string{ofWeb, ofOther, ofAcme, ofEvil} {
			want := ""
			if o == allowed || allowed == ofWeb && o == ofOther || allowed == ofOther && o == ofWeb {
				want = o
			}
			a := w.Do(http.MethodPut, path, nil, origin(o))
			if a.Status != 405 {
				t.Errorf("PUT %s: %d", path, a.Status)
			}
			allows(t, path+" by "+o, a, want)
		}
	}
}
