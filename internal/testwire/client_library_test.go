package testwire

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

// These tests use unmodified client libraries: golang.org/x/oauth2 and
// github.com/coreos/go-oidc.

func TestTokenSourceOfXOAuth2Refreshes(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		config := oauth2.Config{ClientID: "web", Endpoint: oauth2.Endpoint{TokenURL: d.URL + "/token", AuthStyle: oauth2.AuthStyleInParams}}
		expired := &oauth2.Token{AccessToken: a.Text("access_token"), RefreshToken: a.Text("refresh_token"), Expiry: time.Now().Add(-time.Minute)}
		source := config.TokenSource(context.Background(), expired)
		fresh, err := source.Token()
		if err != nil {
			t.Fatal(err)
		}
		if fresh.RefreshToken == expired.RefreshToken || fresh.TokenType != "Bearer" || fresh.ExpiresIn != 300 || !d.Active(fresh.AccessToken) {
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

func TestTokenSourceOfXOAuth2DistinguishesRejectionFromFault(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		config := oauth2.Config{ClientID: "web", Endpoint: oauth2.Endpoint{TokenURL: d.URL + "/token", AuthStyle: oauth2.AuthStyleInParams}}
		_, err := config.TokenSource(context.Background(), &oauth2.Token{RefreshToken: "lk_rt_made-up"}).Token()
		if refusal, ok := err.(*oauth2.RetrieveError); !ok || refusal.ErrorCode != "invalid_grant" {
			t.Errorf("%v", err)
		}
	})
}

func TestClientCredentialsOfXOAuth2(t *testing.T) {
	for name, style := range map[string]oauth2.AuthStyle{"basic": oauth2.AuthStyleInHeader, "post": oauth2.AuthStyleInParams, "detected": oauth2.AuthStyleAutoDetect} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				config := clientcredentials.Config{ClientID: "backend", ClientSecret: testserver.ClientSecret, TokenURL: d.URL + "/token", AuthStyle: style, Scopes: []string{"orders:read"}}
				token, err := config.Token(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				in := d.Want(200, "", d.Introspect("", token.AccessToken))
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
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				tenant := testserver.Tenant("acme", d.Issuer, testserver.Web())
				tenant.SigningAlgorithm = algorithm
				d.Apply(tenant)
				iss := d.URL + "/t/acme"
				a := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(iss, "alice", nil)))
				provider, err := oidc.NewProvider(context.Background(), iss)
				if err != nil {
					t.Fatal(err)
				}
				config := &oidc.Config{ClientID: "web", Now: d.Clock.Now, SupportedSigningAlgs: []string{"RS256", "ES256", "EdDSA"}}
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

func TestGoOIDCRejectsATokenOfAnotherTenant(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
		a := d.SignIn("alice")
		provider, err := oidc.NewProvider(context.Background(), d.URL+"/t/acme")
		if err != nil {
			t.Fatal(err)
		}
		keys := oidc.NewVerifier(d.URL, oidc.NewRemoteKeySet(context.Background(), d.URL+"/t/acme/.well-known/jwks.json"), &oidc.Config{ClientID: "web", SupportedSigningAlgs: []string{"ES256"}})
		if _, err := keys.Verify(context.Background(), a.Text("access_token")); err == nil {
			t.Error("another tenant's keys verify it")
		}
		if _, err := provider.Verifier(&oidc.Config{ClientID: "web", SupportedSigningAlgs: []string{"ES256"}}).Verify(context.Background(), a.Text("access_token")); err == nil {
			t.Error("another tenant's verifier accepts it")
		}
	})
}

func TestTenantsAreIsolated(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web(), testserver.Backend()))
		a := d.SignIn("alice")
		d.Want(400, testserver.InvalidGrant, d.Refresh("/t/acme", "web", a.Text("refresh_token")))
		if in := d.Want(200, "", d.Introspect("/t/acme", a.Text("access_token"))); len(in.JSON) != 1 || in.JSON["active"] != false {
			t.Errorf("%s", in.Body)
		}
		d.Want(200, "", d.Post("/t/acme/revoke", []string{"client_id", "web", "token", a.Text("refresh_token")}))
		d.Want(400, "invalid_request", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL, "alice", nil)))
		if !d.Active(a.Text("access_token")) {
			t.Error("another tenant ended the session")
		}
		for _, path := range []string{"/t/nobody/token", "/t/default/token", "/t/ACME/token"} {
			d.Want(404, "not_found", d.Post(path, []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", "x"}))
		}
	})
}
