package testwire

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// refreshAtBackend refreshes as the client backend.
func refreshAtBackend(d *testserver.Deployment, token string, opts ...testserver.Option) *testserver.Answer {
	d.T.Helper()
	return d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", token}, opts...)
}

// TestEveryInvalidRefreshTokenGetsTheSameError regardless of the other parameters. Only
// the session's own client gets the reason.
func TestEveryInvalidRefreshTokenGetsTheSameError(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		other := testserver.NewIssuer(t, d.Clock)
		d.Apply(testserver.Tenant("acme", other, testserver.Web()))
		const never = "lk_rt_" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		idle := d.SignIn("idle").Text("refresh_token")
		d.Clock.Advance(5*24*time.Hour - time.Minute)
		reused := d.SignIn("reused").Text("refresh_token")
		after := d.Want(200, "", d.Refresh("", "web", reused)).Text("refresh_token")
		d.Want(200, "", d.Refresh("", "web", after))
		d.Clock.Advance(time.Minute)
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", reused))
		live := d.SignIn("alice")
		changed := []byte(live.Text("refresh_token"))
		changed[50] ^= 1
		used := d.SignIn("used").Text("refresh_token")
		successor := d.Want(200, "", d.Refresh("", "web", used)).Text("refresh_token")
		d.Want(200, "", d.Refresh("", "web", successor))
		revoked := d.SignIn("revoked").Text("refresh_token")
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", revoked}))
		backend := d.SignInAtBackend("alice")
		disabled := d.SignIn("disabled").Text("refresh_token")
		d.Apply(settings.TenantSpec{ID: "default", Users: []settings.UserSpec{{Sub: "disabled", Disabled: true}}})
		foreign := d.Want(200, "", d.Exchange("/t/acme", "web", other.Token(d.URL+"/t/acme", "alice", nil))).Text("refresh_token")

		for _, c := range []struct{ name, token, reason, end string }{
			{"unknown", never, "refresh_unknown", ""},
			{"malformed", "x", "refresh_unknown", ""},
			{"with an additional letter", live.Text("refresh_token") + "A", "refresh_unknown", ""},
			{"changed", string(changed), "refresh_unknown", ""},
			{"an access token", live.Text("access_token"), "refresh_unknown", ""},
			{"a session token", backend.Text("session_token"), "refresh_unknown", ""},
			{"used, its successor too", used, "refresh_superseded", ""},
			{"ended by reuse", reused, "session_ended", "reuse_detected"},
			{"idle too long", idle, "session_ended", "idle"},
			{"revoked", revoked, "session_ended", "signed_out"},
			{"of another client", backend.Text("refresh_token"), "refresh_unknown", ""},
			{"of another tenant", foreign, "refresh_unknown", ""},
			{"of a disabled user", disabled, "session_ended", "user_disabled"},
		} {
			want := `{"error":"invalid_grant","error_description":"The refresh token is unknown, used, expired or revoked","latchkey_reason":"` + c.reason + `"`
			if c.end != "" {
				want += `,"latchkey_end_reason":"` + c.end + `"`
			}
			for _, extra := range [][]string{nil, {"scope", "profile"}, {"scope", "admin"}, {"resource", "https://evil.example"}} {
				a := d.Refresh("", "web", c.token, extra...)
				if a.Status != 400 || strings.TrimSpace(string(a.Body)) != want+"}" || a.Header.Get("WWW-Authenticate") != "" {
					t.Errorf("%s, with %v: %d %s, want %s}", c.name, extra, a.Status, a.Body, want)
				}
			}
		}
		d.Want(200, "", d.Refresh("", "web", live.Text("refresh_token")))
		d.Want(200, "", refreshAtBackend(d, backend.Text("refresh_token"), testserver.Basic("backend", testserver.ClientSecret)))
		d.Want(200, "", d.Refresh("/t/acme", "web", foreign))
	})
}

func TestARejectedScopeOrTargetSpendsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		asked []string
		code  string
	}{
		"a wider scope":                           {[]string{"scope", "profile orders:read admin"}, "invalid_scope"},
		"a scope of the client, never granted":    {[]string{"scope", "orders:read"}, "invalid_scope"},
		"a malformed scope":                       {[]string{"scope", "profile\torders:read"}, "invalid_scope"},
		"a resource of the client, never granted": {[]string{"resource", "https://files.example.com"}, "invalid_target"},
		"an unknown audience":                     {[]string{"audience", "made-up"}, "invalid_target"},
		"the client, never granted":               {[]string{"audience", "web"}, "invalid_target"},
		"a resource with a fragment":              {[]string{"resource", "https://api.example.com#x"}, "invalid_target"},
		"one resource of two":                     {[]string{"resource", "https://api.example.com", "resource", "https://files.example.com"}, "invalid_target"},
	} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				a := d.SignIn("alice", "scope", "profile", "audience", "https://api.example.com")
				for range 3 { // none of them begins the retry window, otherwise the second would be reuse
					d.Want(400, c.code, d.Refresh("", "web", a.Text("refresh_token"), c.asked...))
					d.Clock.Advance(time.Minute)
				}
				b := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
				if got := testserver.Claims(t, b); got["scope"] != "profile" || got["aud"] != "https://api.example.com" {
					t.Errorf("scope %v, aud %v", got["scope"], got["aud"])
				}
				if got := d.EventTypes(a.Text("session_id")); len(got) != 1 {
					t.Errorf("events %v", got)
				}
			})
		})
	}
}

func TestRefreshRequiresTheClientsSecret(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		first := d.SignInAtBackend("alice")
		second := d.Want(200, "", refreshAtBackend(d, first.Text("refresh_token"), testserver.Basic("backend", testserver.ClientSecret)))
		d.Clock.Advance(time.Hour)
		for _, token := range []string{first.Text("refresh_token"), second.Text("refresh_token")} { // used, and current
			d.Want(401, "invalid_client", refreshAtBackend(d, token))
			d.Want(401, "invalid_client", refreshAtBackend(d, token, testserver.Basic("backend", "wrong")))
			d.Want(401, "invalid_client", d.Refresh("", "backend", token))
			d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", token))
		}
		if got := d.EventTypes(first.Text("session_id")); len(got) != 1 {
			t.Errorf("events %v", got)
		}
		d.Want(200, "", refreshAtBackend(d, second.Text("refresh_token"), testserver.Basic("backend", testserver.ClientSecret)))
	})
}

func TestReuseEndsTheWholeSession(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		as := testserver.Basic("backend", testserver.ClientSecret)
		a := d.SignInAtBackend("alice")
		b := d.Want(200, "", refreshAtBackend(d, a.Text("refresh_token"), as))
		c := d.Want(200, "", refreshAtBackend(d, b.Text("refresh_token"), as))
		d.Clock.Advance(11 * time.Second)
		d.Want(400, testserver.InvalidGrant, refreshAtBackend(d, a.Text("refresh_token"), as))
		d.Want(400, testserver.InvalidGrant, refreshAtBackend(d, c.Text("refresh_token"), as))
		for name, token := range map[string]string{
			"the first access token": a.Text("access_token"), "the second access token": b.Text("access_token"),
			"the third access token": c.Text("access_token"), "the successor": c.Text("refresh_token"), "the session token": a.Text("session_token"),
		} {
			if d.Active(token) {
				t.Errorf("%s is active", name)
			}
		}
		if got := d.EventTypes(a.Text("session_id")); !slices.Contains(got, models.EventRefreshReuse) {
			t.Errorf("events %v", got)
		}
		d.SignInAtBackend("alice")
	})
}

func TestARefreshTokenDoesNotAuthenticate(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		token := d.SignInAtBackend("alice").Text("refresh_token")
		for _, path := range []string{"/token", "/revoke", "/introspect"} {
			for _, opt := range []testserver.Option{testserver.Authorization("Bearer " + token), testserver.Basic("backend", token)} {
				d.Want(401, "invalid_client", d.Post(path, []string{"grant_type", "client_credentials", "token", token}, opt))
			}
		}
		for _, as := range []string{testserver.TypeJWT, testserver.TypeIDToken, ofAccessToken, strings.Replace(ofAccessToken, "access", "refresh", 1)} {
			d.Want(400, "invalid_request", d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", as, "subject_token", token}, testserver.Basic("backend", testserver.ClientSecret)))
		}
		d.Want(200, "", refreshAtBackend(d, token, testserver.Basic("backend", testserver.ClientSecret)))
	})
}
