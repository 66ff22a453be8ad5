package testwire

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/latchkey/latchkey/internal/testserver"
)

func TestIntrospectionIsSignedOnRequest(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		token := d.SignIn("alice").Text("access_token")
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		ask := func(token string) (top, inside map[string]any, signed string) {
			a := d.Want(200, "", d.Post("/introspect", []string{"token", token}, asBackend, testserver.Accept(testserver.IntrospectionJWT)))
			if a.Header.Get("Content-Type") != testserver.IntrospectionJWT || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%v", a.Header)
			}
			keys := oidc.NewRemoteKeySet(context.Background(), d.URL+"/.well-known/jwks.json")
			payload, err := keys.VerifySignature(context.Background(), string(a.Body))
			if err == nil {
				err = json.Unmarshal(payload, &top)
			}
			if err != nil {
				t.Fatal(err)
			}
			inside, _ = top["token_introspection"].(map[string]any)
			return top, inside, string(a.Body)
		}
		top, inside, signed := ask(token)
		if top["iss"] != d.URL || top["aud"] != "backend" || top["iat"] == nil || top["sub"] != nil || top["exp"] != nil || len(top) != 4 {
			t.Errorf("%v", top)
		}
		if plain := d.Introspect("", token); inside["active"] != true || inside["sub"] != "alice" || len(inside) != len(plain.JSON) {
			t.Errorf("%v, but as JSON %s", inside, plain.Body)
		}
		if header := testserver.JWTHeader(t, signed); header["typ"] != "token-introspection+jwt" {
			t.Errorf("%v", header)
		}
		if d.Active(signed) {
			t.Error("the answer passes for an access token")
		}
		d.Want(400, "unsupported_token_type", d.Post("/revoke", []string{"token", signed}, asBackend))
		if _, inside, _ := ask("made-up"); len(inside) != 1 || inside["active"] != false {
			t.Errorf("inactive: %v", inside)
		}
	})
}

func TestIntrospectionIsJSONUnlessTheJWTIsPreferred(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	for types, want := range map[string]string{
		"":                          "application/json",
		"*/*":                       "application/json",
		"application/json":          "application/json",
		testserver.IntrospectionJWT: testserver.IntrospectionJWT,
		"application/json, " + testserver.IntrospectionJWT:       "application/json",
		testserver.IntrospectionJWT + ", */*;q=0.5":              testserver.IntrospectionJWT,
		testserver.IntrospectionJWT + ";q=0.5, application/json": "application/json",
		testserver.IntrospectionJWT + ";q=0":                     "application/json",
		"text/html":                                              "application/json",
	} {
		a := d.Want(200, "", d.Post("/introspect", []string{"token", "x"}, testserver.Basic("backend", testserver.ClientSecret), testserver.Accept(types)))
		if got := a.Header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %s, want %s", types, got, want)
		}
	}
}

func TestJWTIntrospectionWithoutCredentialsReturns400(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	for name, c := range map[string]struct {
		form []string
		opt  testserver.Option
	}{
		"nobody":                              {nil, testserver.Accept(testserver.IntrospectionJWT)},
		"a public client":                     {[]string{"client_id", "web"}, testserver.Accept(testserver.IntrospectionJWT)},
		"an unknown client":                   {[]string{"client_id", "nobody"}, testserver.Accept(testserver.IntrospectionJWT)},
		"a secret client without its secret":  {[]string{"client_id", "backend"}, testserver.Accept(testserver.IntrospectionJWT)},
		"a wrong secret":                      {nil, testserver.Basic("backend", "wrong")},
		"a token as credentials":              {nil, testserver.Authorization("Bearer " + d.SignIn("alice").Text("access_token"))},
		"credentials that cannot be read":     {nil, testserver.Authorization("Basic !!!")},
		"a public client with another secret": {[]string{"client_id", "web", "client_secret", testserver.ClientSecret}, testserver.Accept(testserver.IntrospectionJWT)},
	} {
		form := append([]string{"token", "x"}, c.form...)
		a := d.Want(400, "invalid_client", d.Post("/introspect", form, c.opt, testserver.Accept(testserver.IntrospectionJWT)))
		if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, a.Header)
		}
		d.Want(401, "invalid_client", d.Post("/introspect", form, c.opt, testserver.Accept("application/json")))
	}
}

func TestASignedIntrospectionIsNotAcceptedAsAToken(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInAtBackend("alice")
		signed := string(d.Want(200, "", d.Post("/introspect", []string{"token", a.Text("access_token")}, testserver.AsBackend(), testserver.Accept(testserver.IntrospectionJWT))).Body)
		if in := d.Want(200, "", d.Introspect("", signed)); string(in.Body) != `{"active":false}` {
			t.Errorf("introspected: %s", in.Body)
		}
		d.Want(400, "unsupported_token_type", d.Post("/revoke", []string{"token", signed}, testserver.AsBackend()))
		d.Want(400, "invalid_request", d.Exchange("", "web", signed))
		d.Want(400, testserver.InvalidGrant, d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", signed}, testserver.AsBackend()))
		d.Want(401, "invalid_client", d.Post("/introspect", []string{"token", signed}, testserver.Authorization("Bearer "+signed)))
		if !d.Active(a.Text("access_token")) {
			t.Error("the session is over")
		}
	})
}
