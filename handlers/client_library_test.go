package handlers_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/latchkey/latchkey/internal/testserver"
)

// These tests use client libraries as they are: golang.org/x/oauth2 and
// github.com/coreos/go-oidc.

func TestTokenSourceOfXOAuth2Refreshes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		config := oauth2.Config{ClientID: "web", Endpoint: oauth2.Endpoint{TokenURL: w.URL + "/token", AuthStyle: oauth2.AuthStyleInParams}}
		expired := &oauth2.Token{AccessToken: a.Text("access_token"), RefreshToken: a.Text("refresh_token"), Expiry: time.Now().Add(-time.Minute)}
		source := config.TokenSource(context.Background(), expired)
		fresh, err := source.Token()
		if err != nil {
			t.Fatal(err)
		}
		if fresh.RefreshToken == expired.RefreshToken || fresh.TokenType != "Bearer" || fresh.ExpiresIn != 300 || !w.active(fresh.AccessToken) {
			t.Errorf("%+v", fresh)
		}
		api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { rw.Header().Set("Seen", r.Header.Get("Authorization")) }))
		defer api.Close()
		resp, err := oauth2.NewClient(context.Background(), source).Get(api.URL)
		if err != nil || resp.Header.Get("Seen") != "Bearer "+fresh.AccessToken {
			t.Errorf("%v, sent %q", err, resp.Header.Get("Seen"))
		}
	})
}

func TestTokenSourceOfXOAuth2TellsRefusalFromFault(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		config := oauth2.Config{ClientID: "web", Endpoint: oauth2.Endpoint{TokenURL: w.URL + "/token", AuthStyle: oauth2.AuthStyleInParams}}
		_, err := config.TokenSource(context.Background(), &oauth2.Token{RefreshToken: "lk_rt_made-up"}).Token()
		if refusal, ok := err.(*oauth2.RetrieveError); !ok || refusal.ErrorCode != "invalid_grant" {
			t.Errorf("%v", err)
		}
	})
}

func TestClientCredentialsOfXOAuth2(t *testing.T) {
	for name, style := range map[string]oauth2.AuthStyle{"basic": oauth2.AuthStyleInHeader, "post": oauth2.AuthStyleInParams, "detected": oauth2.AuthStyleAutoDetect} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, w *world) {
				config := clientcredentials.Config{ClientID: "backend", ClientSecret: testserver.ClientSecret, TokenURL: w.URL + "/token", AuthStyle: style, Scopes: []string{"orders:read"}}
				token, err := config.Token(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				in := w.want(200, "", w.Introspect("", token.AccessToken))
				if in.JSON["active"] != true || in.Text("sub") != "backend" || in.Text("scope") != "orders:read" || in.JSON["sid"] != nil {
					t.Errorf("%s", in.Body)
				}
				if token.RefreshToken != "" {
					t.Error("a client needs no refresh token for itself") // RFC 6749 §4.4.3
				}
			})
		})
	}
}

func TestGoOIDCDiscoversAndVerifies(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256", "Ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, w *world) {
				tenant := testserver.Tenant("acme", w.issuer, testserver.Web())
				tenant.SigningAlgorithm = algorithm
				w.Apply(tenant)
				iss := w.URL + "/t/acme"
				a := w.want(200, "", w.Exchange("/t/acme", "web", w.issuer.Token(iss, "alice", nil)))
				provider, err := oidc.NewProvider(context.Background(), iss)
				if err != nil {
					t.Fatal(err)
				}
				config := &oidc.Config{ClientID: "web", Now: w.Clock.Now, SupportedSigningAlgs: []string{"RS256", "ES256", "EdDSA"}}
				verified, err := provider.Verifier(config).Verify(context.Background(), a.Text("access_token"))
				if err != nil {
					t.Fatal(err)
				}
				if verified.Subject != "alice" || verified.Issuer != iss || len(verified.Audience) != 1 || verified.Audience[0] != "web" {
					t.Errorf("%+v", verified)
				}
				if _, err := oidc.NewProvider(context.Background(), iss+"/"); err == nil {
					t.Error("discovery accepts an issuer with a slash at its end")
				}
			})
		})
	}
}

func TestGoOIDCRefusesATokenOfAnotherTenant(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web()))
		a := w.signIn("alice")
		provider, err := oidc.NewProvider(context.Background(), w.URL+"/t/acme")
		if err != nil {
			t.Fatal(err)
		}
		keys := oidc.NewVerifier(w.URL, oidc.NewRemoteKeySet(context.Background(), w.URL+"/t/acme/.well-known/jwks.json"), &oidc.Config{ClientID: "web", SupportedSigningAlgs: []string{"ES256"}})
		if _, err := keys.Verify(context.Background(), a.Text("access_token")); err == nil {
			t.Error("another tenant's keys verify it")
		}
		if _, err := provider.Verifier(&oidc.Config{ClientID: "web", SupportedSigningAlgs: []string{"ES256"}}).Verify(context.Background(), a.Text("access_token")); err == nil {
			t.Error("another tenant's verifier accepts it")
		}
	})
}

func TestTenantsDoNotKnowEachOther(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web(), testserver.Backend()))
		a := w.signIn("alice")
		w.want(400, refused, w.Refresh("/t/acme", "web", a.Text("refresh_token")))
		if in := w.want(200, "", w.Introspect("/t/acme", a.Text("access_token"))); len(in.JSON) != 1 || in.JSON["active"] != false {
			t.Errorf("%s", in.Body)
		}
		w.want(200, "", w.Post("/t/acme/revoke", []string{"client_id", "web", "token", a.Text("refresh_token")}))
		w.want(400, "invalid_request", w.Exchange("/t/acme", "web", w.issuer.Token(w.URL, "alice", nil)))
		if !w.active(a.Text("access_token")) {
			t.Error("another tenant ended the session")
		}
		for _, path := range []string{"/t/nobody/token", "/t/default/token", "/t/ACME/token"} {
			w.want(404, "not_found", w.Post(path, []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", "x"}))
		}
	})
}
