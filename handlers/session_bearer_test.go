package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// userRequests are what a user can ask for; DELETE comes last.
var userRequests = []string{
	"GET /session", "GET /sessions", "GET /userinfo", "POST /userinfo", "GET /sessions/AAAAAAAAAAAAAAAAAAAAAA",
	"DELETE /sessions/AAAAAAAAAAAAAAAAAAAAAA", "DELETE /sessions?scope=all", "DELETE /session",
}

// ask sends one of userRequests.
func (w *world) ask(request string, opts ...testserver.Option) *testserver.Answer {
	w.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	return w.Do(method, path, nil, opts...)
}

func TestTheSessionAPIIsForBearers(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		expired, gone := w.signIn("alice"), w.signInAtBackend("alice")
		w.Clock.Advance(5 * time.Minute)
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web()))
		w.want(200, "", w.Post("/revoke", []string{"token", gone.Text("refresh_token")}, asBackend()))
		web, backend := w.signIn("alice"), w.signInAtBackend("alice")
		acme := w.want(200, "", w.Exchange("/t/acme", "web", w.issuer.Token(w.URL+"/t/acme", "alice", nil)))
		token, handle := web.Text("access_token"), backend.Text("session_token")
		other := "A"
		if handle[60] == 'A' {
			other = "B"
		}
		twice := func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token} }
		besides := func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token, "Basic d2ViOg=="} }
		inForm := func(r *http.Request) {
			r.Header.Set("Content-Type", formType)
			r.URL.RawQuery += "&access_token=" + token
		}
		const none, malformed, invalid = "", "invalid_request", "invalid_token"
		before := w.written()
		for _, c := range []struct {
			name   string
			opt    testserver.Option
			status int
			code   string
		}{
			{"nothing", func(*http.Request) {}, 401, none},
			{"an empty header", authorization(""), 401, none},
			{"a token in the URL", inForm, 401, none},
			{"another scheme", authorization("DPoP " + token), 401, none},
			{"no scheme", authorization(token), 401, none},
			{"the scheme and more", authorization("Bearers " + token), 401, none},
			{"two headers", twice, 400, malformed},
			{"a header beside another one", besides, 400, malformed},
			{"the scheme alone", authorization("Bearer"), 400, malformed},
			{"two tokens", authorization("Bearer " + token + " " + token), 400, malformed},
			{"two tokens in a list", authorization("Bearer " + token + "," + token), 400, malformed},
			{"a quote", authorization(`Bearer "` + token + `"`), 400, malformed},
			{"a parameter", authorization("Bearer token=" + token), 400, malformed},
			{"padding alone", authorization("Bearer ="), 400, malformed},
			{"a letter of no alphabet", authorization("Bearer \xc3\xa4" + token), 400, malformed},
			{"a tab", authorization("Bearer\t" + token), 401, none},
			{"garbage", authorization("Bearer garbage"), 401, invalid},
			{"padding behind it", authorization("Bearer " + token + "="), 401, invalid},
			{"another signature", authorization("Bearer " + token[:len(token)-86] + strings.Repeat("A", 86)), 401, invalid},
			{"an expired access token", as(expired), 401, invalid},
			{"an ended session's access token", as(gone), 401, invalid},
			{"an ended session's session token", authorization("Bearer " + gone.Text("session_token")), 401, invalid},
			{"a session token that nobody made", authorization("Bearer " + handle[:60] + other + handle[61:]), 401, invalid},
			{"a refresh token", authorization("Bearer " + web.Text("refresh_token")), 401, invalid},
			{"the id of a session", authorization("Bearer " + web.Text("session_id")), 401, invalid},
			{"a back end's refresh token", authorization("Bearer " + backend.Text("refresh_token")), 401, invalid},
			{"an access token without a session", authorization("Bearer " + w.machineToken()), 401, invalid},
			{"another tenant's access token", as(acme), 401, invalid},
			{"a client token", authorization("Bearer " + w.issuer.Token(w.URL, "alice", nil)), 401, invalid},
		} {
			for _, request := range userRequests {
				a := w.ask(request, c.opt)
				challenge := `Bearer realm="` + w.URL + `"`
				if c.code != none {
					challenge += `, error="` + c.code + `", error_description="` + a.Text("error_description") + `"`
				}
				if a.Status != c.status || a.Error() != c.code || (c.code == none) != (string(a.Body) == "{}") {
					t.Errorf("%s with %s: %d %s, want %d %s", request, c.name, a.Status, a.Body, c.status, c.code)
				}
				if h := a.Header; len(h.Values("WWW-Authenticate")) != 1 || h.Get("WWW-Authenticate") != challenge || h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json" {
					t.Errorf("%s with %s: %v", request, c.name, h)
				}
			}
		}
		w.same(t, before)
		for _, scheme := range []string{"bearer", "BEARER", "Bearer  "} {
			w.want(200, "", w.Get("/session", authorization(scheme+" "+token)))
		}
	})
}

func TestASessionTokenThatWasReplacedIsNoBearer(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		handle := authorization("Bearer " + w.signInAtBackend("alice").Text("session_token"))
		w.want(200, "", w.Get("/session", handle))
		w.tamper("UPDATE sessions SET session_token_generation = session_token_generation + 1")
		for _, request := range userRequests {
			w.want(401, "invalid_token", w.ask(request, handle))
		}
	})
}

// A resource server that was handed a user's token must not act for that user.
func TestAResourceServerCannotReplayATokenAtTheSessionAPI(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		tenant := sessionTenant(w.issuer)
		tenant.Clients[0].Audiences = []string{"https://api.example.com", "backend", w.URL, w.URL + "/session"}
		w.Apply(tenant)
		for name, audience := range map[string][]string{
			"a resource server":             {"https://api.example.com"},
			"another client":                {"backend"},
			"two of them":                   {"https://api.example.com", "backend"},
			"what only looks like us":       {w.URL + "/session"},
			"all that it may have but this": {"https://api.example.com", "backend", w.URL + "/session"},
		} {
			var extra []string
			for _, target := range audience {
				extra = append(extra, "audience", target)
			}
			a := w.signIn("alice", extra...)
			before := w.written()
			for _, request := range append(userRequests, "GET /sessions/"+a.Text("session_id"), "DELETE /sessions/"+a.Text("session_id"), "DELETE /sessions?scope=others") {
				if answer := w.ask(request, as(a)); answer.Status != 401 || answer.Error() != "invalid_token" {
					t.Errorf("%s with a token for %s: %d %s", request, name, answer.Status, answer.Body)
				}
			}
			w.same(t, before)
		}
		for _, extra := range [][]string{nil, {"audience", "web"}, {"audience", w.URL}, {"audience", "web", "audience", "https://api.example.com"}} {
			w.want(200, "", w.Get("/session", as(w.signIn("alice", extra...))))
		}
	})
}

func TestASessionAPIThatCannotAskRefusesNobody(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	w := newSessionWorld(t, testserver.Options{DatabaseURL: proxy.URL()})
	a := w.signIn("alice")
	proxy.Cut()
	asks := func() {
		t.Helper()
		for _, request := range userRequests {
			answer := w.want(503, "temporarily_unavailable", w.ask(request, as(a), origin(ofWeb)))
			if answer.Header.Get("Retry-After") == "" || answer.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s: %v", request, answer.Header)
			}
			allows(t, request, answer, ofWeb)
		}
		for _, request := range []string{"GET /sessions?sub=alice", "DELETE /sessions?sub=alice"} {
			allows(t, request, w.want(503, "temporarily_unavailable", w.ask(request, asSupport(), origin(ofWeb))), "")
		}
	}
	asks()
	w.Clock.Advance(time.Minute) // longer than a node trusts what it knows
	asks()
	proxy.Heal()
	w.want(200, "", w.Get("/session", as(a)))
}

func TestUserInfoIsTheUserAndTheCustomClaims(t *testing.T) {
	eachSessionWorld(t, func(t *testing.T, w *world) {
		a := w.want(200, "", w.Exchange("", "web", w.issuer.Token(w.URL, "alice", map[string]any{"email": "a@example.com"})))
		b := w.signInAtBackend("bob")
		for want, bearer := range map[string]testserver.Option{
			`{"sub": "alice", "email": "a@example.com"}`: as(a), `{"sub": "bob"}`: authorization("Bearer " + b.Text("session_token")),
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				answer := w.want(200, "", w.Do(method, "/userinfo", nil, bearer))
				sameJSON(t, answer.Body, want)
				if h := answer.Header; h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
					t.Errorf("%v", h)
				}
			}
		}
		w.Apply(models.TenantSpec{ID: "default", Users: []models.UserSpec{{Sub: "alice", Attributes: map[string]any{"email": "new@example.com"}}}})
		sameJSON(t, w.Post("/userinfo", []string{"access_token", b.Text("access_token")}, as(a)).Body, `{"sub": "alice", "email": "new@example.com"}`)
		if a := w.want(401, "", w.Post("/userinfo", []string{"access_token", a.Text("access_token")})); string(a.Body) != "{}" {
			t.Errorf("a token in the form: %s", a.Body)
		}
	})
}
