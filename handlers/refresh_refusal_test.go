package handlers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// asBackend refreshes as the client backend.
func (w *world) asBackend(token string, opts ...testserver.Option) *testserver.Answer {
	w.t.Helper()
	return w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", token}, opts...)
}

func TestEveryDeadRefreshTokenIsAnsweredAlike(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		other := testserver.NewIssuer(t, w.Clock)
		w.Apply(testserver.Tenant("acme", other, testserver.Web()))
		const never = "lk_rt_" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		idle, reused := w.signIn("idle").Text("refresh_token"), w.signIn("reused").Text("refresh_token")
		w.want(200, "", w.Refresh("", "web", reused))
		w.Clock.Advance(5 * 24 * time.Hour)
		w.want(400, refused, w.Refresh("", "web", reused))
		live := w.signIn("alice")
		changed := []byte(live.Text("refresh_token"))
		changed[50] ^= 1
		used := w.signIn("used").Text("refresh_token")
		successor := w.want(200, "", w.Refresh("", "web", used)).Text("refresh_token")
		w.want(200, "", w.Refresh("", "web", successor))
		revoked := w.signIn("revoked").Text("refresh_token")
		w.want(200, "", w.Post("/revoke", []string{"client_id", "web", "token", revoked}))
		backend := w.signInAtBackend("alice")
		disabled := w.signIn("disabled").Text("refresh_token")
		w.Apply(models.TenantSpec{ID: "default", Users: []models.UserSpec{{Sub: "disabled", Disabled: true}}})
		foreign := w.want(200, "", w.Exchange("/t/acme", "web", other.Token(w.URL+"/t/acme", "alice", nil))).Text("refresh_token")

		var first *testserver.Answer
		for _, c := range []struct{ name, token string }{
			{"unknown", never},
			{"malformed", "x"},
			{"of one letter more", live.Text("refresh_token") + "A"},
			{"changed", string(changed)},
			{"an access token", live.Text("access_token")},
			{"a session token", backend.Text("session_token")},
			{"used, its successor too", used},
			{"ended by reuse", reused},
			{"idle too long", idle},
			{"revoked", revoked},
			{"of another client", backend.Text("refresh_token")},
			{"of another tenant", foreign},
			{"of a disabled user", disabled},
		} {
			for _, extra := range [][]string{nil, {"scope", "profile"}, {"scope", "admin"}, {"resource", "https://evil.example"}} {
				a := w.Refresh("", "web", c.token, extra...)
				if a.Status != 400 || a.Error() != refused || a.Header.Get("WWW-Authenticate") != "" {
					t.Errorf("%s, with %v: %d %s", c.name, extra, a.Status, a.Body)
				}
				if first == nil {
					first = a
				}
				if string(a.Body) != string(first.Body) {
					t.Errorf("%s, with %v: %s, but an unknown one: %s", c.name, extra, a.Body, first.Body)
				}
			}
		}
		w.want(200, "", w.Refresh("", "web", live.Text("refresh_token")))
		w.want(200, "", w.asBackend(backend.Text("refresh_token"), testserver.Basic("backend", testserver.ClientSecret)))
		w.want(200, "", w.Refresh("/t/acme", "web", foreign))
	})
}

func TestARefusedScopeOrTargetSpendsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		asked []string
		code  string
	}{
		"a wider scope":                           {[]string{"scope", "profile orders:read admin"}, "invalid_scope"},
		"a scope of the client, never granted":    {[]string{"scope", "orders:read"}, "invalid_scope"},
		"a malformed scope":                       {[]string{"scope", "profile "}, "invalid_scope"},
		"a resource of the client, never granted": {[]string{"resource", "https://files.example.com"}, "invalid_target"},
		"an audience of nobody":                   {[]string{"audience", "made-up"}, "invalid_target"},
		"the client, never granted":               {[]string{"audience", "web"}, "invalid_target"},
		"a resource with a fragment":              {[]string{"resource", "https://api.example.com#x"}, "invalid_target"},
		"one resource of two":                     {[]string{"resource", "https://api.example.com", "resource", "https://files.example.com"}, "invalid_target"},
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, w *world) {
				a := w.signIn("alice", "scope", "profile", "audience", "https://api.example.com")
				for range 3 { // none of them begins the retry window, or the second were reuse
					w.want(400, c.code, w.Refresh("", "web", a.Text("refresh_token"), c.asked...))
					w.Clock.Advance(time.Minute)
				}
				b := w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
				if got := claims(t, b); got["scope"] != "profile" || got["aud"] != "https://api.example.com" {
					t.Errorf("scope %v, aud %v", got["scope"], got["aud"])
				}
				if got := w.events(a.Text("session_id")); len(got) != 1 {
					t.Errorf("events %v", got)
				}
			})
		})
	}
}

func TestRefreshNeedsTheClientsOwnSecret(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		first := w.signInAtBackend("alice")
		second := w.want(200, "", w.asBackend(first.Text("refresh_token"), testserver.Basic("backend", testserver.ClientSecret)))
		w.Clock.Advance(time.Hour)
		for _, token := range []string{first.Text("refresh_token"), second.Text("refresh_token")} { // used, and current
			w.want(401, "invalid_client", w.asBackend(token))
			w.want(401, "invalid_client", w.asBackend(token, testserver.Basic("backend", "wrong")))
			w.want(401, "invalid_client", w.Refresh("", "backend", token))
			w.want(400, refused, w.Refresh("", "web", token))
		}
		if got := w.events(first.Text("session_id")); len(got) != 1 {
			t.Errorf("events %v", got)
		}
		w.want(200, "", w.asBackend(second.Text("refresh_token"), testserver.Basic("backend", testserver.ClientSecret)))
	})
}

func TestReuseEndsAllThatTheSessionHas(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		as := testserver.Basic("backend", testserver.ClientSecret)
		a := w.signInAtBackend("alice")
		b := w.want(200, "", w.asBackend(a.Text("refresh_token"), as))
		w.Clock.Advance(11 * time.Second)
		w.want(400, refused, w.asBackend(a.Text("refresh_token"), as))
		w.want(400, refused, w.asBackend(b.Text("refresh_token"), as))
		for name, token := range map[string]string{
			"the first access token": a.Text("access_token"), "the second access token": b.Text("access_token"),
			"the successor": b.Text("refresh_token"), "the session token": a.Text("session_token"),
		} {
			if w.active(token) {
				t.Errorf("%s is active", name)
			}
		}
		if got := w.events(a.Text("session_id")); !slices.Contains(got, models.EventRefreshReuse) {
			t.Errorf("events %v", got)
		}
		w.signInAtBackend("alice")
	})
}

func TestARefreshTokenIsNoCredential(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		token := w.signInAtBackend("alice").Text("refresh_token")
		for _, path := range []string{"/token", "/revoke", "/introspect"} {
			for _, opt := range []testserver.Option{authorization("Bearer " + token), testserver.Basic("backend", token)} {
				w.want(401, "invalid_client", w.Post(path, []string{"grant_type", "client_credentials", "token", token}, opt))
			}
		}
		for _, as := range []string{ofJWT, ofIDToken, ofAccessToken, strings.Replace(ofAccessToken, "access", "refresh", 1)} {
			w.want(400, "invalid_request", w.Post("/token", []string{"grant_type", tokenExchange, "subject_token_type", as, "subject_token", token}, testserver.Basic("backend", testserver.ClientSecret)))
		}
		w.want(200, "", w.asBackend(token, testserver.Basic("backend", testserver.ClientSecret)))
	})
}
