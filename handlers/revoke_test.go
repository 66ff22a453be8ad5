package handlers_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

func TestRevokeOfAnyTokenSignsOut(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		for _, hint := range []string{"", "refresh_token", "access_token", "made-up"} {
			for name, token := range map[string]func(generations []*testserver.Answer) string{
				"the access token":          func(g []*testserver.Answer) string { return g[3].Text("access_token") },
				"the current refresh token": func(g []*testserver.Answer) string { return g[3].Text("refresh_token") },
				"a used refresh token":      func(g []*testserver.Answer) string { return g[2].Text("refresh_token") },
				"the first refresh token":   func(g []*testserver.Answer) string { return g[0].Text("refresh_token") },
				"the first access token":    func(g []*testserver.Answer) string { return g[0].Text("access_token") },
			} {
				t.Run(name+" hint "+hint, func(t *testing.T) {
					w := &world{w.Server, w.issuer, t}
					g := []*testserver.Answer{w.signIn("alice")}
					for i := range 3 {
						g = append(g, w.want(200, "", w.Refresh("", "web", g[i].Text("refresh_token"))))
					}
					a := w.want(200, "", w.Post("/revoke", []string{"client_id", "web", "token", token(g), "token_type_hint", hint}))
					if len(a.Body) != 0 || a.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("%q %v", a.Body, a.Header)
					}
					w.want(400, refused, w.Refresh("", "web", g[3].Text("refresh_token")))
					for i := range g {
						if w.active(g[i].Text("access_token")) {
							t.Errorf("access token %d is still active", i)
						}
					}
				})
			}
		}
	})
}

func TestRevokeAnswersLikeRFC7009(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		machine := w.want(200, "", w.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret)))
		asBackend := testserver.Basic("backend", testserver.ClientSecret)

		w.want(400, "invalid_request", w.Post("/revoke", []string{"client_id", "web"}))
		w.want(401, "invalid_client", w.Post("/revoke", []string{"token", a.Text("refresh_token")}))
		w.want(401, "invalid_client", w.Post("/revoke", []string{"client_id", "backend", "token", machine.Text("access_token")}))
		w.want(200, "", w.Post("/revoke", []string{"client_id", "web", "token", "made-up"}))
		w.want(200, "", w.Post("/revoke", []string{"client_id", "web", "token", "lk_rt_made-up"}))
		for _, token := range []string{a.Text("access_token"), a.Text("refresh_token")} {
			w.want(400, "invalid_grant", w.Post("/revoke", []string{"token", token}, asBackend))
		}
		w.want(400, "invalid_grant", w.Post("/revoke", []string{"client_id", "web", "token", machine.Text("access_token")}))
		if !w.active(a.Text("access_token")) || !w.active(machine.Text("access_token")) {
			t.Fatal("a refused revocation ended something")
		}
		for range 2 {
			w.want(200, "", w.Post("/revoke", []string{"token", machine.Text("access_token")}, asBackend))
		}
		if w.active(machine.Text("access_token")) {
			t.Error("a revoked token without a session is active")
		}
		w.Clock.Advance(6 * time.Minute)
		w.want(200, "", w.Post("/revoke", []string{"client_id", "web", "token", a.Text("access_token")})) // expired
		w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		w.want(405, "invalid_request", w.Get("/revoke?token="+a.Text("refresh_token")))
	})
}

func TestSessionTokensAreIssuedIntrospectedAndRevoked(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		a := w.want(200, "", w.Post("/token", []string{
			"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange",
			"subject_token_type", "urn:ietf:params:oauth:token-type:jwt", "subject_token", w.issuer.Token(w.URL, "alice", nil),
		}, asBackend))
		handle := a.Text("session_token")
		in := w.want(200, "", w.Introspect("", handle))
		if in.JSON["active"] != true || in.Text("sub") != "alice" || in.Text("sid") != a.Text("session_id") || in.Text("token_type") != "N_A" {
			t.Errorf("%s", in.Body)
		}
		refreshed := w.want(200, "", w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, asBackend))
		if refreshed.JSON["session_token"] != nil {
			t.Error("a refresh repeats the session token")
		}
		if in := w.Introspect("", handle); in.JSON["active"] != true {
			t.Error("a refresh spent the session token")
		}
		w.want(400, "invalid_grant", w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", handle}, asBackend))
		w.want(200, "", w.Post("/revoke", []string{"token", handle}, asBackend))
		if in := w.Introspect("", handle); in.JSON["active"] != false || len(in.JSON) != 1 {
			t.Errorf("%s", in.Body)
		}
		if w.active(refreshed.Text("access_token")) {
			t.Error("the session lives on")
		}
	})
}

func TestASessionWithoutRefreshEndsWithItsAccessToken(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		client := testserver.Web()
		client.Grants = []string{models.GrantTokenExchange}
		w.Apply(testserver.Tenant("default", w.issuer, client, testserver.Backend()))
		a := w.signIn("alice")
		if a.JSON["refresh_token"] != nil {
			t.Error("a refresh token without the grant")
		}
		if int64(a.JSON["session_expires_at"].(float64)) != w.Clock.Now().Add(5*time.Minute).Unix() {
			t.Errorf("the session ends at %v", a.JSON["session_expires_at"])
		}
		w.Clock.Advance(5*time.Minute - time.Second)
		if !w.active(a.Text("access_token")) {
			t.Error("ended early")
		}
		w.Clock.Advance(time.Second)
		if w.active(a.Text("access_token")) {
			t.Error("still active")
		}
	})
}
