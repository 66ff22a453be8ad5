package handlers_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

func sqlite(t *testing.T) testserver.Options {
	return testserver.Options{DatabaseURL: testdb.SQLite(t)}
}

// api is a resource server that sees only tokens that name it.
func api() models.ClientSpec {
	return models.ClientSpec{ID: "api", Secret: "another-client-secret-for-tests-of-many-characters", ClientSettings: models.ClientSettings{
		Auth: models.AuthSecret, ResourceIdentifiers: []string{"https://api.example.com"},
	}}
}

func TestIntrospectDescribesAnAccessToken(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		client := testserver.Web()
		client.Claims = map[string]string{"email": "user.email"}
		tenant := testserver.Tenant("default", w.issuer, client, testserver.Backend())
		tenant.TrustedIssuers[0].UserAttributes = map[string]string{"email": "token.email"}
		w.Apply(tenant)
		a := w.want(200, "", w.Exchange("", "web", w.issuer.Token(w.URL, "alice", map[string]any{"amr": []string{"pwd", "otp"}, "email": "alice@example.com"})))
		in := w.want(200, "", w.Introspect("", a.Text("access_token")))
		now := float64(w.Clock.Now().Unix())
		for name, want := range map[string]any{
			"active": true, "iss": w.URL, "sub": "alice", "aud": "web", "client_id": "web", "scope": "profile orders:read", "token_type": "Bearer",
			"iat": now, "exp": now + 300, "auth_time": now, "sid": a.Text("session_id"), "acr": "urn:latchkey:acr:2", "email": "alice@example.com",
		} {
			if in.JSON[name] != want {
				t.Errorf("%s is %v, want %v", name, in.JSON[name], want)
			}
		}
		if in.JSON["jti"] == nil || in.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %v", in.Body, in.Header)
		}
		if header := part(t, a, 0); header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] == nil || len(header) != 3 {
			t.Errorf("header %v", header)
		}
	})
}

func TestIntrospectShowsATokenOnlyToItsAudience(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend(), api()))
		asAPI := testserver.Basic("api", api().Secret)
		own := w.signIn("alice").Text("access_token")
		meant := w.signIn("alice", "audience", "https://api.example.com").Text("access_token")
		if in := w.want(200, "", w.Post("/introspect", []string{"token", own}, asAPI)); in.JSON["active"] != false || len(in.JSON) != 1 {
			t.Errorf("a token for another: %s", in.Body)
		}
		if in := w.want(200, "", w.Post("/introspect", []string{"token", meant}, asAPI)); in.JSON["active"] != true || in.Text("aud") != "https://api.example.com" {
			t.Errorf("a token for it: %s", in.Body)
		}
	})
}

func TestIntrospectOfARefreshToken(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		a := w.want(200, "", w.Post("/token", []string{
			"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange",
			"subject_token_type", "urn:ietf:params:oauth:token-type:jwt", "subject_token", w.issuer.Token(w.URL, "alice", nil),
		}, asBackend))
		w.Clock.Advance(time.Hour)
		b := w.want(200, "", w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, asBackend))
		in := w.want(200, "", w.Introspect("", b.Text("refresh_token")))
		if in.JSON["active"] != true || in.JSON["exp"] != float64(w.Clock.Now().Add(5*24*time.Hour).Unix()) || in.JSON["iat"] != float64(w.Clock.Now().Unix()) {
			t.Errorf("the current one: %s", in.Body)
		}
		for name, token := range map[string]string{"a used one": a.Text("refresh_token"), "another client's": w.signIn("bob").Text("refresh_token")} {
			if in := w.want(200, "", w.Introspect("", token)); in.JSON["active"] != false || len(in.JSON) != 1 {
				t.Errorf("%s: %s", name, in.Body)
			}
		}
	})
}

func TestIntrospectIsInactiveForEverythingElse(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		access := a.Text("access_token")
		flipped := []byte(access)
		flipped[len(flipped)/2] ^= 1
		for name, token := range map[string]string{
			"garbage":          "garbage",
			"a client token":   w.issuer.Token(w.URL, "alice", nil),
			"a changed token":  string(flipped),
			"a respelled one":  access + "=",
			"one with a space": access[:50] + " " + access[50:],
			"an opaque one":    "lk_at_" + access,
		} {
			if in := w.want(200, "", w.Introspect("", token)); in.JSON["active"] != false || len(in.JSON) != 1 {
				t.Errorf("%s: %s", name, in.Body)
			}
		}
		w.Clock.Advance(5 * time.Minute)
		if w.active(access) {
			t.Error("an expired one is active")
		}
	})
}

func TestIntrospectAsksWhoIsAsking(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		token := w.signIn("alice").Text("access_token")
		for name, a := range map[string]*testserver.Answer{
			"nobody":          w.Post("/introspect", []string{"token", token}),
			"a public client": w.Post("/introspect", []string{"token", token, "client_id", "web"}),
			"a wrong secret":  w.Post("/introspect", []string{"token", token}, testserver.Basic("backend", "wrong")),
			"the token":       w.Post("/introspect", []string{"token", token}, testserver.Header("Authorization", "Bearer "+token)),
		} {
			w.want(401, "invalid_client", a)
			if a.Header.Get("WWW-Authenticate") != `Basic realm="`+w.URL+`"` {
				t.Errorf("%s: WWW-Authenticate %q", name, a.Header.Get("WWW-Authenticate"))
			}
		}
		w.want(400, "invalid_request", w.Post("/introspect", []string{"hint", "x"}, testserver.Basic("backend", testserver.ClientSecret)))
		w.want(405, "invalid_request", w.Get("/introspect"))
	})
}

func TestIntrospectIsNoActivity(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		client := testserver.Backend()
		client.InactivityTimeout = duration(10 * time.Minute)
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), client))
		a := w.signInAtBackend("alice")
		for _, wait := range []time.Duration{4 * time.Minute, 5 * time.Minute} {
			w.Clock.Advance(wait)
			for kind, lives := range map[string]bool{"access_token": wait == 4*time.Minute, "refresh_token": true, "session_token": true} {
				if w.active(a.Text(kind)) != lives {
					t.Errorf("after %v more: %s is active: %t", wait, kind, !lives)
				}
			}
		}
		w.Clock.Advance(time.Minute)
		for _, kind := range []string{"refresh_token", "session_token"} {
			if w.active(a.Text(kind)) {
				t.Errorf("the %s outlived the idle limit", kind)
			}
		}
		w.want(400, refused, w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, asBackend()))
	})
}

func TestAccessTokensOfAnotherTypAreNone(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		client := testserver.Web()
		client.AccessTokenTyp = "JWT"
		w.Apply(testserver.Tenant("default", w.issuer, client, testserver.Backend()))
		a := w.signIn("alice")
		if part(t, a, 0)["typ"] != "JWT" || !w.active(a.Text("access_token")) {
			t.Fatalf("%s", a.Body)
		}
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend()))
		if w.active(a.Text("access_token")) {
			t.Error("a JWT without the typ of access tokens passes for one")
		}
		w.want(400, "unsupported_token_type", w.Post("/revoke", []string{"client_id", "web", "token", a.Text("access_token")}))
		w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
	})
}
