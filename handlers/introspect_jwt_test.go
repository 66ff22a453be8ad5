package handlers_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/latchkey/latchkey/internal/testserver"
)

const introspectionJWT = "application/token-introspection+jwt"

func accept(types string) testserver.Option { return testserver.Header("Accept", types) }

func TestIntrospectionIsSignedOnDemand(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		token := w.signIn("alice").Text("access_token")
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		ask := func(token string) (top, inside map[string]any, signed string) {
			a := w.want(200, "", w.Post("/introspect", []string{"token", token}, asBackend, accept(introspectionJWT)))
			if a.Header.Get("Content-Type") != introspectionJWT || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%v", a.Header)
			}
			keys := oidc.NewRemoteKeySet(context.Background(), w.URL+"/.well-known/jwks.json")
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
		if top["iss"] != w.URL || top["aud"] != "backend" || top["iat"] == nil || top["sub"] != nil || top["exp"] != nil || len(top) != 4 {
			t.Errorf("%v", top)
		}
		if plain := w.Introspect("", token); inside["active"] != true || inside["sub"] != "alice" || len(inside) != len(plain.JSON) {
			t.Errorf("%v, but as JSON %s", inside, plain.Body)
		}
		if header := headerOf(t, signed); header["typ"] != "token-introspection+jwt" {
			t.Errorf("%v", header)
		}
		if w.active(signed) {
			t.Error("the answer passes for an access token")
		}
		w.want(400, "unsupported_token_type", w.Post("/revoke", []string{"token", signed}, asBackend))
		if _, inside, _ := ask("made-up"); len(inside) != 1 || inside["active"] != false {
			t.Errorf("inactive: %v", inside)
		}
	})
}

func TestIntrospectionIsJSONUnlessTheJWTIsPreferred(t *testing.T) {
	w := newWorld(t, sqlite(t))
	for types, want := range map[string]string{
		"":                                      "application/json",
		"*/*":                                   "application/json",
		"application/json":                      "application/json",
		introspectionJWT:                        introspectionJWT,
		"application/json, " + introspectionJWT: "application/json",
		introspectionJWT + ", */*;q=0.5":        introspectionJWT,
		introspectionJWT + ";q=0.5, application/json": "application/json",
		introspectionJWT + ";q=0":                     "application/json",
		"text/html":                                   "application/json",
	} {
		a := w.want(200, "", w.Post("/introspect", []string{"token", "x"}, testserver.Basic("backend", testserver.ClientSecret), accept(types)))
		if got := a.Header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %s, want %s", types, got, want)
		}
	}
}

func TestIntrospectionWithoutCredentialsIsA400ForTheJWTForm(t *testing.T) {
	w := newWorld(t, sqlite(t))
	for name, c := range map[string]struct {
		form []string
		opt  testserver.Option
	}{
		"nobody":                              {nil, accept(introspectionJWT)},
		"a public client":                     {[]string{"client_id", "web"}, accept(introspectionJWT)},
		"an unknown client":                   {[]string{"client_id", "nobody"}, accept(introspectionJWT)},
		"a secret client without its secret":  {[]string{"client_id", "backend"}, accept(introspectionJWT)},
		"a wrong secret":                      {nil, testserver.Basic("backend", "wrong")},
		"a token as credentials":              {nil, authorization("Bearer " + w.signIn("alice").Text("access_token"))},
		"credentials that cannot be read":     {nil, authorization("Basic !!!")},
		"a public client with another secret": {[]string{"client_id", "web", "client_secret", testserver.ClientSecret}, accept(introspectionJWT)},
	} {
		form := append([]string{"token", "x"}, c.form...)
		a := w.want(400, "invalid_client", w.Post("/introspect", form, c.opt, accept(introspectionJWT)))
		if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, a.Header)
		}
		w.want(401, "invalid_client", w.Post("/introspect", form, c.opt, accept("application/json")))
	}
}

func TestASignedAnswerIsNoTokenOfAnyKind(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signInAtBackend("alice")
		signed := string(w.want(200, "", w.Post("/introspect", []string{"token", a.Text("access_token")}, asBackend(), accept(introspectionJWT))).Body)
		if in := w.want(200, "", w.Introspect("", signed)); string(in.Body) != `{"active":false}` {
			t.Errorf("introspected: %s", in.Body)
		}
		w.want(400, "unsupported_token_type", w.Post("/revoke", []string{"token", signed}, asBackend()))
		w.want(400, "invalid_request", w.Exchange("", "web", signed))
		w.want(400, refused, w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", signed}, asBackend()))
		w.want(401, "invalid_client", w.Post("/introspect", []string{"token", signed}, authorization("Bearer "+signed)))
		if !w.active(a.Text("access_token")) {
			t.Error("the session is over")
		}
	})
}
