package testwire

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestRevokeOfAnyTokenSignsOut(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		for _, hint := range []string{"", "refresh_token", "access_token", "made-up"} {
			for name, token := range map[string]func(generations []*testserver.Answer) string{
				"the access token":          func(g []*testserver.Answer) string { return g[3].Text("access_token") },
				"the current refresh token": func(g []*testserver.Answer) string { return g[3].Text("refresh_token") },
				"a used refresh token":      func(g []*testserver.Answer) string { return g[2].Text("refresh_token") },
				"the first refresh token":   func(g []*testserver.Answer) string { return g[0].Text("refresh_token") },
				"the first access token":    func(g []*testserver.Answer) string { return g[0].Text("access_token") },
			} {
				t.Run(name+" hint "+hint, func(t *testing.T) {
					d := &testserver.Deployment{Server: d.Server, Issuer: d.Issuer, T: t}
					g := []*testserver.Answer{d.SignIn("alice")}
					for i := range 3 {
						g = append(g, d.Want(200, "", d.Refresh("", "web", g[i].Text("refresh_token"))))
					}
					a := d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", token(g), "token_type_hint", hint}))
					if len(a.Body) != 0 || a.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("%q %v", a.Body, a.Header)
					}
					d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", g[3].Text("refresh_token")))
					for i := range g {
						if d.Active(g[i].Text("access_token")) {
							t.Errorf("access token %d is still active", i)
						}
					}
				})
			}
		}
	})
}

func TestRevokeRespondsAsInRFC7009(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret)))
		asBackend := testserver.Basic("backend", testserver.ClientSecret)

		d.Want(400, "invalid_request", d.Post("/revoke", []string{"client_id", "web"}))
		d.Want(401, "invalid_client", d.Post("/revoke", []string{"token", a.Text("refresh_token")}))
		d.Want(401, "invalid_client", d.Post("/revoke", []string{"client_id", "backend", "token", machine.Text("access_token")}))
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", "made-up"}))
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", "lk_rt_made-up"}))
		for _, token := range []string{a.Text("access_token"), a.Text("refresh_token")} {
			d.Want(400, "invalid_grant", d.Post("/revoke", []string{"token", token}, asBackend))
		}
		d.Want(400, "invalid_grant", d.Post("/revoke", []string{"client_id", "web", "token", machine.Text("access_token")}))
		if !d.Active(a.Text("access_token")) || !d.Active(machine.Text("access_token")) {
			t.Fatal("a refused revocation ended something")
		}
		for range 2 {
			d.Want(200, "", d.Post("/revoke", []string{"token", machine.Text("access_token")}, asBackend))
		}
		if d.Active(machine.Text("access_token")) {
			t.Error("a revoked token without a session is active")
		}
		d.Clock.Advance(6 * time.Minute)
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", a.Text("access_token")})) // expired
		d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Want(405, "invalid_request", d.Get("/revoke?token="+a.Text("refresh_token")))
	})
}

func TestSessionTokensAreIssuedIntrospectedAndRevoked(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		a := d.Want(200, "", d.Post("/token", []string{
			"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange",
			"subject_token_type", "urn:ietf:params:oauth:token-type:jwt", "subject_token", d.Issuer.Token(d.URL, "alice", nil),
		}, asBackend))
		handle := a.Text("session_token")
		in := d.Want(200, "", d.Introspect("", handle))
		if in.JSON["active"] != true || in.Text("sub") != "alice" || in.Text("sid") != a.Text("session_id") || in.Text("token_type") != "N_A" {
			t.Errorf("%s", in.Body)
		}
		refreshed := d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, asBackend))
		if refreshed.JSON["session_token"] != nil {
			t.Error("a refresh repeats the session token")
		}
		if in := d.Introspect("", handle); in.JSON["active"] != true {
			t.Error("a refresh spent the session token")
		}
		d.Want(400, "invalid_grant", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", handle}, asBackend))
		d.Want(200, "", d.Post("/revoke", []string{"token", handle}, asBackend))
		if in := d.Introspect("", handle); in.JSON["active"] != false || len(in.JSON) != 1 {
			t.Errorf("%s", in.Body)
		}
		if d.Active(refreshed.Text("access_token")) {
			t.Error("the session is still alive")
		}
	})
}

func TestASessionWithoutRefreshEndsWithItsAccessToken(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		client := testserver.Web()
		client.Grants = []string{settings.GrantTokenExchange}
		d.Apply(testserver.Tenant("default", d.Issuer, client, testserver.Backend()))
		a := d.SignIn("alice")
		if a.JSON["refresh_token"] != nil {
			t.Error("a refresh token without the grant")
		}
		if int64(a.JSON["session_expires_at"].(float64)) != d.Clock.Now().Add(5*time.Minute).Unix() {
			t.Errorf("the session ends at %v", a.JSON["session_expires_at"])
		}
		d.Clock.Advance(5*time.Minute - time.Second)
		if !d.Active(a.Text("access_token")) {
			t.Error("ended early")
		}
		d.Clock.Advance(time.Second)
		if d.Active(a.Text("access_token")) {
			t.Error("still active")
		}
	})
}
