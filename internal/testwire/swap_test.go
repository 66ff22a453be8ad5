package testwire

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestASessionTokenYieldsAccessTokensAsLongAsItsSessionLives(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInAtBackend("alice")
		for range 3 {
			d.Clock.Advance(4 * 24 * time.Hour) // the inactivity timeout is five days
			b := d.Want(200, "", d.ExchangeSession(a.Text("session_token")))
			if b.Text("session_id") != a.Text("session_id") || b.JSON["session_expires_at"] != a.JSON["session_expires_at"] || b.Text("issued_token_type") != "urn:ietf:params:oauth:token-type:access_token" || b.Text("token_type") != "Bearer" {
				t.Errorf("%s", b.Body)
			}
			if b.JSON["refresh_token"] != nil || b.JSON["session_token"] != nil {
				t.Errorf("more than was asked for: %s", b.Body)
			}
			before, now := testserver.Claims(t, a), testserver.Claims(t, b)
			for _, same := range []string{"sub", "sid", "auth_time", "client_id", "scope"} {
				if before[same] != now[same] {
					t.Errorf("%s became %v, was %v", same, now[same], before[same])
				}
			}
			if before["jti"] == now["jti"] || !d.Active(b.Text("access_token")) {
				t.Errorf("%v", now)
			}
		}
		d.Clock.Advance(5 * 24 * time.Hour)
		d.Want(400, "invalid_request", d.ExchangeSession(a.Text("session_token")))
	})
}

func TestSwapRejects(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		other := testserver.Backend()
		other.ID, other.Secret = "other", "the-secret-of-the-other-client-of-32-or-more"
		handed := testserver.Web()
		handed.ID, handed.SessionToken, handed.AllowPublicSessionToken = "handed", true, true
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), other, handed),
			testserver.Tenant("acme", d.Issuer, testserver.Backend()))
		a, over := d.SignInAtBackend("alice"), d.SignInAtBackend("alice")
		d.Want(200, "", d.Post("/revoke", []string{"token", over.Text("session_token")}, testserver.AsBackend()))
		public := d.Want(200, "", d.Exchange("", "handed", d.Issuer.Token(d.URL, "alice", nil)))
		before := d.Written()
		form := func(token string, extra ...string) []string {
			return append([]string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeSession, "subject_token", token}, extra...)
		}
		for name, c := range map[string]struct {
			answer *testserver.Answer
			code   string
		}{
			"a session that is over":        {d.ExchangeSession(over.Text("session_token")), "invalid_request"},
			"a refresh token":               {d.ExchangeSession(a.Text("refresh_token")), "invalid_request"},
			"an access token":               {d.ExchangeSession(a.Text("access_token")), "invalid_request"},
			"a token that was never issued": {d.ExchangeSession(a.Text("session_token")[:90] + "AAAAAAAAAAAA"), "invalid_request"},
			"another client":                {d.Post("/token", form(a.Text("session_token")), testserver.Basic("other", other.Secret)), "invalid_request"},
			"another tenant":                {d.Post("/t/acme/token", form(a.Text("session_token")), testserver.AsBackend()), "invalid_request"},
			"a public client":               {d.Post("/token", form(a.Text("session_token"), "client_id", "web")), "invalid_request"},
			"a wider scope":                 {d.ExchangeSession(a.Text("session_token"), "scope", "profile admin"), "invalid_scope"},
			"another target":                {d.ExchangeSession(a.Text("session_token"), "resource", "https://api.example.com"), "invalid_target"},
			"a session token in exchange":   {d.ExchangeSession(a.Text("session_token"), "requested_token_type", testserver.TypeSession), "invalid_request"},
			"a step-up without proof":       {d.ExchangeSession(a.Text("session_token"), "latchkey_session_token", a.Text("refresh_token")), "invalid_request"},
			"an unmet demand":               {d.ExchangeSession(a.Text("session_token"), "acr_values", "phrh"), "unmet_authentication_requirements"},
		} {
			t.Run(name, func(t *testing.T) {
				if c.answer.Status != 400 || c.answer.Error() != c.code {
					t.Errorf("status %d %s", c.answer.Status, c.answer.Body)
				}
			})
		}
		d.WantUnchanged(t, before)
		d.Want(200, "", d.ExchangeSession(a.Text("session_token")))
		d.Want(200, "", d.Post("/token", form(public.Text("session_token"), "client_id", "handed")))
		handed.SessionToken, handed.AllowPublicSessionToken = false, false
		d.Apply(testserver.Tenant("default", d.Issuer, handed))
		d.Want(400, "invalid_request", d.Post("/token", form(public.Text("session_token"), "client_id", "handed")))
		narrow := d.Want(200, "", d.ExchangeSession(a.Text("session_token"), "scope", "profile"))
		if narrow.Text("scope") != "profile" || testserver.Claims(t, narrow)["scope"] != "profile" {
			t.Errorf("%s", narrow.Body)
		}
		d.Apply(settings.TenantSpec{ID: "default", Users: []settings.UserSpec{{Sub: "alice", Disabled: true}}})
		d.Want(400, "invalid_request", d.ExchangeSession(a.Text("session_token")))
	})
}

func TestNoSwapSucceedsOnceARevocationHasReturned(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInAtBackend("alice")
		answers := testserver.InParallel(16, func(i int) *testserver.Answer {
			if i == 7 {
				return d.Post("/revoke", []string{"token", a.Text("session_token")}, testserver.AsBackend())
			}
			return d.ExchangeSession(a.Text("session_token"))
		})
		for _, b := range answers {
			if b.Status != 200 && b.Error() != "invalid_request" {
				t.Errorf("status %d %s", b.Status, b.Body)
			}
			if token := b.Text("access_token"); token != "" && d.Active(token) {
				t.Error("a token outlives its session")
			}
		}
		d.Want(400, "invalid_request", d.ExchangeSession(a.Text("session_token")))
	})
}

func TestASessionTokenCanBeRequested(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		form := append(d.BackendExchangeForm("alice"), "requested_token_type", testserver.TypeSession)
		a := d.Want(200, "", d.Post("/token", form, testserver.AsBackend()))
		if a.Text("token_type") != "N_A" || a.Text("issued_token_type") != testserver.TypeSession || a.JSON["session_token"] != nil || a.JSON["expires_in"] != 5*24*3600.0 {
			t.Errorf("%s", a.Body)
		}
		if in := d.Introspect("", a.Text("access_token")); in.Text("token_type") != "N_A" {
			t.Errorf("%s", in.Body)
		}
		d.Want(200, "", d.ExchangeSession(a.Text("access_token")))
		d.Want(400, "invalid_request", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil), "requested_token_type", testserver.TypeSession))
	})
}
