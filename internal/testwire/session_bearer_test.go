package testwire

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

// userRequests are the requests that a user can make, with DELETE last.
var userRequests = []string{
	"GET /session", "GET /sessions", "GET /userinfo", "POST /userinfo", "GET /sessions/AAAAAAAAAAAAAAAAAAAAAA",
	"DELETE /sessions/AAAAAAAAAAAAAAAAAAAAAA", "DELETE /sessions?scope=all", "DELETE /session",
}

func TestTheSessionAPIRequiresABearerToken(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		expired, gone := d.SignIn("alice"), d.SignInAtBackend("alice")
		d.Clock.Advance(5 * time.Minute)
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
		d.Want(200, "", d.Post("/revoke", []string{"token", gone.Text("refresh_token")}, testserver.AsBackend()))
		web, backend := d.SignIn("alice"), d.SignInAtBackend("alice")
		acme := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		token, handle := web.Text("access_token"), backend.Text("session_token")
		other := "A"
		if handle[60] == 'A' {
			other = "B"
		}
		twice := func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token} }
		besides := func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token, "Basic d2ViOg=="} }
		inForm := func(r *http.Request) {
			r.Header.Set("Content-Type", testserver.FormType)
			r.URL.RawQuery += "&access_token=" + token
		}
		const none, malformed, invalid = "", "invalid_request", "invalid_token"
		before := d.Written()
		for _, c := range []struct {
			name   string
			opt    testserver.Option
			status int
			code   string
		}{
			{"nothing", func(*http.Request) {}, 401, none},
			{"an empty header", testserver.Authorization(""), 401, none},
			{"a token in the URL", inForm, 401, none},
			{"another scheme", testserver.Authorization("DPoP " + token), 401, none},
			{"no scheme", testserver.Authorization(token), 401, none},
			{"the scheme with a suffix", testserver.Authorization("Bearers " + token), 401, none},
			{"two headers", twice, 400, malformed},
			{"two headers", besides, 400, malformed},
			{"only the scheme", testserver.Authorization("Bearer"), 400, malformed},
			{"two tokens", testserver.Authorization("Bearer " + token + " " + token), 400, malformed},
			{"two tokens in a list", testserver.Authorization("Bearer " + token + "," + token), 400, malformed},
			{"a quote", testserver.Authorization(`Bearer "` + token + `"`), 400, malformed},
			{"a parameter", testserver.Authorization("Bearer token=" + token), 400, malformed},
			{"only padding", testserver.Authorization("Bearer ="), 400, malformed},
			{"a letter of no alphabet", testserver.Authorization("Bearer \xc3\xa4" + token), 400, malformed},
			{"a tab", testserver.Authorization("Bearer\t" + token), 401, none},
			{"garbage", testserver.Authorization("Bearer garbage"), 401, invalid},
			{"padding behind it", testserver.Authorization("Bearer " + token + "="), 401, invalid},
			{"another signature", testserver.Authorization("Bearer " + token[:len(token)-86] + strings.Repeat("A", 86)), 401, invalid},
			{"an expired access token", testserver.AsBearer(expired), 401, invalid},
			{"an ended session's access token", testserver.AsBearer(gone), 401, invalid},
			{"an ended session's session token", testserver.Authorization("Bearer " + gone.Text("session_token")), 401, invalid},
			{"an invented session token", testserver.Authorization("Bearer " + handle[:60] + other + handle[61:]), 401, invalid},
			{"a refresh token", testserver.Authorization("Bearer " + web.Text("refresh_token")), 401, invalid},
			{"the id of a session", testserver.Authorization("Bearer " + web.Text("session_id")), 401, invalid},
			{"a back end's refresh token", testserver.Authorization("Bearer " + backend.Text("refresh_token")), 401, invalid},
			{"an access token without a session", testserver.Authorization("Bearer " + d.MachineToken()), 401, invalid},
			{"another tenant's access token", testserver.AsBearer(acme), 401, invalid},
			{"a client token", testserver.Authorization("Bearer " + d.Issuer.Token(d.URL, "alice", nil)), 401, invalid},
		} {
			for _, request := range userRequests {
				a := d.Request(request, c.opt)
				challenge := `Bearer realm="` + d.URL + `"`
				if c.code != none {
					challenge += `, error="` + c.code + `", error_description="` + a.Text("error_description") + `"`
				}
				if a.Status != c.status || a.Error() != c.code || (c.code == none) != (string(a.Body) == `{"latchkey_reason":"token_missing"}`) {
					t.Errorf("%s with %s: %d %s, want %d %s", request, c.name, a.Status, a.Body, c.status, c.code)
				}
				if h := a.Header; len(h.Values("WWW-Authenticate")) != 1 || h.Get("WWW-Authenticate") != challenge || h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json" {
					t.Errorf("%s with %s: %v", request, c.name, h)
				}
			}
		}
		d.WantUnchanged(t, before)
		for _, scheme := range []string{"bearer", "BEARER", "Bearer  "} {
			d.Want(200, "", d.Get("/session", testserver.Authorization(scheme+" "+token)))
		}
	})
}

func TestAReplacedSessionTokenIsRejected(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		handle := testserver.Authorization("Bearer " + d.SignInAtBackend("alice").Text("session_token"))
		d.Want(200, "", d.Get("/session", handle))
		d.Tamper("UPDATE sessions SET session_token_generation = session_token_generation + 1")
		for _, request := range userRequests {
			d.Want(401, "invalid_token", d.Request(request, handle))
		}
	})
}

// A resource server that receives a user's token must not act for that user.
func TestAResourceServerCannotReplayATokenAtTheSessionAPI(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		tenant := testserver.SessionTenant(d.Issuer)
		tenant.Clients[0].Audiences = []string{"https://api.example.com", "backend", d.URL, d.URL + "/session"}
		d.Apply(tenant)
		for name, audience := range map[string][]string{
			"a resource server":             {"https://api.example.com"},
			"another client":                {"backend"},
			"two of them":                   {"https://api.example.com", "backend"},
			"a similar name":                {d.URL + "/session"},
			"all that it may have but this": {"https://api.example.com", "backend", d.URL + "/session"},
		} {
			var extra []string
			for _, target := range audience {
				extra = append(extra, "audience", target)
			}
			a := d.SignIn("alice", extra...)
			before := d.Written()
			for _, request := range append(userRequests, "GET /sessions/"+a.Text("session_id"), "DELETE /sessions/"+a.Text("session_id"), "DELETE /sessions?scope=others") {
				if answer := d.Request(request, testserver.AsBearer(a)); answer.Status != 401 || answer.Error() != "invalid_token" {
					t.Errorf("%s with a token for %s: %d %s", request, name, answer.Status, answer.Body)
				}
			}
			d.WantUnchanged(t, before)
		}
		for _, extra := range [][]string{nil, {"audience", "web"}, {"audience", d.URL}, {"audience", "web", "audience", "https://api.example.com"}} {
			d.Want(200, "", d.Get("/session", testserver.AsBearer(d.SignIn("alice", extra...))))
		}
	})
}

func TestTheSessionAPIRejectsNobodyDuringAnOutage(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := testserver.NewSessionDeployment(t, testserver.Options{DatabaseURL: proxy.URL()})
	a := d.SignIn("alice")
	proxy.Cut()
	asks := func(status int, code string) { // for a back end's request from a page
		t.Helper()
		for _, request := range userRequests {
			answer := d.Want(503, "temporarily_unavailable", d.Request(request, testserver.AsBearer(a), testserver.Origin(testserver.OriginWeb)))
			if answer.Header.Get("Retry-After") == "" || answer.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s: %v", request, answer.Header)
			}
			testserver.WantAllowedOrigin(t, request, answer, testserver.OriginWeb)
		}
		for _, request := range []string{"GET /sessions?sub=alice", "DELETE /sessions?sub=alice"} {
			d.Want(503, "temporarily_unavailable", d.Request(request, testserver.AsSupport()))
			testserver.WantAllowedOrigin(t, request, d.Want(status, code, d.Request(request, testserver.AsSupport(), testserver.Origin(testserver.OriginWeb))), "")
		}
	}
	asks(403, "invalid_request")
	d.Clock.Advance(time.Minute) // longer than a node relies on its memory
	asks(503, "temporarily_unavailable")
	proxy.Heal()
	d.Want(200, "", d.Get("/session", testserver.AsBearer(a)))
}

func TestUserInfoContainsTheUserAndTheCustomClaims(t *testing.T) {
	eachSessionDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"email": "a@example.com"})))
		b := d.SignInAtBackend("bob")
		for want, bearer := range map[string]testserver.Option{
			`{"sub": "alice", "email": "a@example.com"}`: testserver.AsBearer(a), `{"sub": "bob"}`: testserver.Authorization("Bearer " + b.Text("session_token")),
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				answer := d.Want(200, "", d.Do(method, "/userinfo", nil, bearer))
				sameJSON(t, answer.Body, want)
				if h := answer.Header; h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
					t.Errorf("%v", h)
				}
			}
		}
		d.Apply(settings.TenantSpec{ID: "default", Users: []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"email": "new@example.com"}}}})
		sameJSON(t, d.Post("/userinfo", []string{"access_token", b.Text("access_token")}, testserver.AsBearer(a)).Body, `{"sub": "alice", "email": "new@example.com"}`)
		if a := d.Want(401, "", d.Post("/userinfo", []string{"access_token", a.Text("access_token")})); string(a.Body) != `{"latchkey_reason":"token_missing"}` {
			t.Errorf("a token in the form: %s", a.Body)
		}
	})
}
