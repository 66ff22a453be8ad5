package testwire

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

func TestIntrospectDescribesAnAccessToken(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		client := testserver.Web()
		client.Claims = map[string]string{"email": "user.email"}
		tenant := testserver.Tenant("default", d.Issuer, client, testserver.Backend())
		tenant.TrustedIssuers[0].UserAttributes = map[string]string{"email": "token.email"}
		d.Apply(tenant)
		a := d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", map[string]any{"amr": []string{"pwd", "otp"}, "email": "alice@example.com"})))
		in := d.Want(200, "", d.Introspect("", a.Text("access_token")))
		now := float64(d.Clock.Now().Unix())
		for name, want := range map[string]any{
			"active": true, "iss": d.URL, "sub": "alice", "aud": "web", "client_id": "web", "scope": "profile orders:read", "token_type": "Bearer",
			"iat": now, "exp": now + 300, "auth_time": now, "sid": a.Text("session_id"), "acr": "urn:latchkey:acr:2", "email": "alice@example.com",
		} {
			if in.JSON[name] != want {
				t.Errorf("%s is %v, want %v", name, in.JSON[name], want)
			}
		}
		if in.JSON["jti"] == nil || in.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %v", in.Body, in.Header)
		}
		if header := testserver.TokenPart(t, a, 0); header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] == nil || len(header) != 3 {
			t.Errorf("header %v", header)
		}
	})
}

func TestIntrospectShowsATokenOnlyToItsAudience(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), testserver.APIClient()))
		asAPI := testserver.Basic("api", testserver.APIClient().Secret)
		own := d.SignIn("alice").Text("access_token")
		meant := d.SignIn("alice", "audience", "https://api.example.com").Text("access_token")
		if in := d.Want(200, "", d.Post("/introspect", []string{"token", own}, asAPI)); in.JSON["active"] != false || len(in.JSON) != 1 {
			t.Errorf("a token for another: %s", in.Body)
		}
		if in := d.Want(200, "", d.Post("/introspect", []string{"token", meant}, asAPI)); in.JSON["active"] != true || in.Text("aud") != "https://api.example.com" {
			t.Errorf("a token for it: %s", in.Body)
		}
	})
}

func TestIntrospectOfARefreshToken(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		a := d.Want(200, "", d.Post("/token", []string{
			"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange",
			"subject_token_type", "urn:ietf:params:oauth:token-type:jwt", "subject_token", d.Issuer.Token(d.URL, "alice", nil),
		}, asBackend))
		d.Clock.Advance(time.Hour)
		b := d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, asBackend))
		in := d.Want(200, "", d.Introspect("", b.Text("refresh_token")))
		if in.JSON["active"] != true || in.JSON["exp"] != float64(d.Clock.Now().Add(5*24*time.Hour).Unix()) || in.JSON["iat"] != float64(d.Clock.Now().Unix()) {
			t.Errorf("the current one: %s", in.Body)
		}
		for name, token := range map[string]string{"a used one": a.Text("refresh_token"), "another client's": d.SignIn("bob").Text("refresh_token")} {
			if in := d.Want(200, "", d.Introspect("", token)); in.JSON["active"] != false || len(in.JSON) != 1 {
				t.Errorf("%s: %s", name, in.Body)
			}
		}
	})
}

func TestIntrospectIsInactiveForEverythingElse(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		access := a.Text("access_token")
		flipped := []byte(access)
		flipped[len(flipped)/2] ^= 1
		for name, token := range map[string]string{
			"garbage":          "garbage",
			"a client token":   d.Issuer.Token(d.URL, "alice", nil),
			"a changed token":  string(flipped),
			"a respelled one":  access + "=",
			"one with a space": access[:50] + " " + access[50:],
			"an opaque one":    "lk_at_" + access,
		} {
			if in := d.Want(200, "", d.Introspect("", token)); in.JSON["active"] != false || len(in.JSON) != 1 {
				t.Errorf("%s: %s", name, in.Body)
			}
		}
		d.Clock.Advance(5 * time.Minute)
		if d.Active(access) {
			t.Error("an expired one is active")
		}
	})
}

func TestIntrospectRequiresClientAuthentication(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		token := d.SignIn("alice").Text("access_token")
		for name, a := range map[string]*testserver.Answer{
			"nobody":          d.Post("/introspect", []string{"token", token}),
			"a public client": d.Post("/introspect", []string{"token", token, "client_id", "web"}),
			"a wrong secret":  d.Post("/introspect", []string{"token", token}, testserver.Basic("backend", "wrong")),
			"the token":       d.Post("/introspect", []string{"token", token}, testserver.Header("Authorization", "Bearer "+token)),
		} {
			d.Want(401, "invalid_client", a)
			if a.Header.Get("WWW-Authenticate") != `Basic realm="`+d.URL+`"` {
				t.Errorf("%s: WWW-Authenticate %q", name, a.Header.Get("WWW-Authenticate"))
			}
		}
		d.Want(400, "invalid_request", d.Post("/introspect", []string{"hint", "x"}, testserver.Basic("backend", testserver.ClientSecret)))
		d.Want(405, "invalid_request", d.Get("/introspect"))
	})
}

func TestIntrospectDoesNotCountAsActivity(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		client := testserver.Backend()
		client.InactivityTimeout = testserver.Duration(10 * time.Minute)
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), client))
		a := d.SignInAtBackend("alice")
		for _, wait := range []time.Duration{4 * time.Minute, 5 * time.Minute} {
			d.Clock.Advance(wait)
			for kind, lives := range map[string]bool{"access_token": wait == 4*time.Minute, "refresh_token": true, "session_token": true} {
				if d.Active(a.Text(kind)) != lives {
					t.Errorf("after another %v: %s is active: %t", wait, kind, !lives)
				}
			}
		}
		d.Clock.Advance(time.Minute)
		for _, kind := range []string{"refresh_token", "session_token"} {
			if d.Active(a.Text(kind)) {
				t.Errorf("the %s outlived the idle limit", kind)
			}
		}
		d.Want(400, testserver.InvalidGrant, d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, testserver.AsBackend()))
	})
}

func TestAccessTokensWithAnotherTypAreRejected(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		client := testserver.Web()
		client.AccessTokenTyp = "JWT"
		d.Apply(testserver.Tenant("default", d.Issuer, client, testserver.Backend()))
		a := d.SignIn("alice")
		if testserver.TokenPart(t, a, 0)["typ"] != "JWT" || !d.Active(a.Text("access_token")) {
			t.Fatalf("%s", a.Body)
		}
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend()))
		if d.Active(a.Text("access_token")) {
			t.Error("a JWT without the typ of access tokens passes for one")
		}
		d.Want(400, "unsupported_token_type", d.Post("/revoke", []string{"client_id", "web", "token", a.Text("access_token")}))
		d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
	})
}
