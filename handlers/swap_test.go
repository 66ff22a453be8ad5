package handlers_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

const ofSession = "urn:latchkey:params:oauth:token-type:session"

// swap exchanges a session token at the secret client.
func (w *world) swap(token string, extra ...string) *testserver.Answer {
	return w.Post("/token", append([]string{"grant_type", tokenExchange, "subject_token_type", ofSession, "subject_token", token}, extra...), asBackend())
}

func TestASessionTokenYieldsAccessTokensAsLongAsItsSessionLives(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInAtBackend("alice")
		for range 3 {
			w.Clock.Advance(4 * 24 * time.Hour) // of five without a use
			b := w.want(200, "", w.swap(a.Text("session_token")))
			if b.Text("session_id") != a.Text("session_id") || b.JSON["session_expires_at"] != a.JSON["session_expires_at"] || b.Text("issued_token_type") != "urn:ietf:params:oauth:token-type:access_token" || b.Text("token_type") != "Bearer" {
				t.Errorf("%s", b.Body)
			}
			if b.JSON["refresh_token"] != nil || b.JSON["session_token"] != nil {
				t.Errorf("more than was asked for: %s", b.Body)
			}
			before, now := claims(t, a), claims(t, b)
			for _, same := range []string{"sub", "sid", "auth_time", "client_id", "scope"} {
				if before[same] != now[same] {
					t.Errorf("%s became %v, was %v", same, now[same], before[same])
				}
			}
			if before["jti"] == now["jti"] || !w.active(b.Text("access_token")) {
				t.Errorf("%v", now)
			}
		}
		w.Clock.Advance(5 * 24 * time.Hour)
		w.want(400, "invalid_request", w.swap(a.Text("session_token")))
	})
}

func TestASwapIsRefused(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		other := testserver.Backend()
		other.ID, other.Secret = "other", "the-secret-of-the-other-client-of-32-or-more"
		handed := testserver.Web()
		handed.ID, handed.SessionToken, handed.AllowPublicSessionToken = "handed", true, true
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend(), other, handed),
			testserver.Tenant("acme", w.issuer, testserver.Backend()))
		a, over := w.signInAtBackend("alice"), w.signInAtBackend("alice")
		w.want(200, "", w.Post("/revoke", []string{"token", over.Text("session_token")}, asBackend()))
		public := w.want(200, "", w.Exchange("", "handed", w.issuer.Token(w.URL, "alice", nil)))
		before := w.written()
		form := func(token string, extra ...string) []string {
			return append([]string{"grant_type", tokenExchange, "subject_token_type", ofSession, "subject_token", token}, extra...)
		}
		for name, c := range map[string]struct {
			answer *testserver.Answer
			code   string
		}{
			"a session that is over":      {w.swap(over.Text("session_token")), "invalid_request"},
			"a refresh token":             {w.swap(a.Text("refresh_token")), "invalid_request"},
			"an access token":             {w.swap(a.Text("access_token")), "invalid_request"},
			"what we never issued":        {w.swap(a.Text("session_token")[:90] + "AAAAAAAAAAAA"), "invalid_request"},
			"another client":              {w.Post("/token", form(a.Text("session_token")), testserver.Basic("other", other.Secret)), "invalid_request"},
			"another tenant":              {w.Post("/t/acme/token", form(a.Text("session_token")), asBackend()), "invalid_request"},
			"a public client":             {w.Post("/token", form(a.Text("session_token"), "client_id", "web")), "invalid_request"},
			"more scope":                  {w.swap(a.Text("session_token"), "scope", "profile admin"), "invalid_scope"},
			"another target":              {w.swap(a.Text("session_token"), "resource", "https://api.example.com"), "invalid_target"},
			"a session token in exchange": {w.swap(a.Text("session_token"), "requested_token_type", ofSession), "invalid_request"},
			"a step-up without proof":     {w.swap(a.Text("session_token"), "latchkey_session_token", a.Text("refresh_token")), "invalid_request"},
			"an unmet demand":             {w.swap(a.Text("session_token"), "acr_values", "phrh"), "unmet_authentication_requirements"},
		} {
			t.Run(name, func(t *testing.T) {
				if c.answer.Status != 400 || c.answer.Error() != c.code {
					t.Errorf("answered %d %s", c.answer.Status, c.answer.Body)
				}
			})
		}
		w.same(t, before)
		w.want(200, "", w.swap(a.Text("session_token")))
		w.want(200, "", w.Post("/token", form(public.Text("session_token"), "client_id", "handed")))
		handed.SessionToken, handed.AllowPublicSessionToken = false, false
		w.Apply(testserver.Tenant("default", w.issuer, handed))
		w.want(400, "invalid_request", w.Post("/token", form(public.Text("session_token"), "client_id", "handed")))
		narrow := w.want(200, "", w.swap(a.Text("session_token"), "scope", "profile"))
		if narrow.Text("scope") != "profile" || claims(t, narrow)["scope"] != "profile" {
			t.Errorf("%s", narrow.Body)
		}
		w.Apply(models.TenantSpec{ID: "default", Users: []models.UserSpec{{Sub: "alice", Disabled: true}}})
		w.want(400, "invalid_request", w.swap(a.Text("session_token")))
	})
}

func TestNoSwapSucceedsOnceARevocationHasReturned(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInAtBackend("alice")
		answers := inParallel(16, func(i int) *testserver.Answer {
			if i == 7 {
				return w.Post("/revoke", []string{"token", a.Text("session_token")}, asBackend())
			}
			return w.swap(a.Text("session_token"))
		})
		for _, b := range answers {
			if b.Status != 200 && b.Error() != "invalid_request" {
				t.Errorf("answered %d %s", b.Status, b.Body)
			}
			if token := b.Text("access_token"); token != "" && w.active(token) {
				t.Error("a token outlives its session")
			}
		}
		w.want(400, "invalid_request", w.swap(a.Text("session_token")))
	})
}

func TestASessionTokenCanBeWhatIsAskedFor(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		form := append(w.exchangeAsBackend("alice"), "requested_token_type", ofSession)
		a := w.want(200, "", w.Post("/token", form, asBackend()))
		if a.Text("token_type") != "N_A" || a.Text("issued_token_type") != ofSession || a.JSON["session_token"] != nil || a.JSON["expires_in"] != 5*24*3600.0 {
			t.Errorf("%s", a.Body)
		}
		if in := w.Introspect("", a.Text("access_token")); in.Text("token_type") != "N_A" {
			t.Errorf("%s", in.Body)
		}
		w.want(200, "", w.swap(a.Text("access_token")))
		w.want(400, "invalid_request", w.Exchange("", "web", w.issuer.Token(w.URL, "alice", nil), "requested_token_type", ofSession))
	})
}
