package testattack

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// keyEncodings returns the encodings of a public RSA key that a careless verifier might
// use as the secret of a MAC.
func keyEncodings(t *testing.T, key *rsa.PublicKey, kid string) map[string][]byte {
	t.Helper()
	pkix, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(key)
	jwk, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: "RS256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	return map[string][]byte{
		"PEM": asPEM, "PEM without its last newline": asPEM[:len(asPEM)-1], "DER": pkix,
		"PEM of PKCS 1": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), "DER of PKCS 1": pkcs1,
		"JWK": jwk, "key set": []byte(`{"keys":[` + string(jwk) + `]}`), "modulus": key.N.Bytes(),
		"modulus in base64url": []byte(base64.RawURLEncoding.EncodeToString(key.N.Bytes())), "nothing": nil,
	}
}

func TestExchangeRejectsAMACWithAnIssuersPublicRSAKey(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	rs := testserver.Signers()[0]
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: rs.Public, KeyID: rs.Algorithm}}})
	if err != nil {
		t.Fatal(err)
	}
	for source, keys := range map[string]settings.IssuerKeys{
		"discovery": {Discovery: true}, "a key set": {JWKS: set}, "PEM": {PEM: testserver.PEM(t, rs.Public)},
	} {
		t.Run(source, func(t *testing.T) {
			d.Reconfigure(testserver.Trusting(p.Entry(keys)))
			for _, secret := range keyEncodings(t, rs.Public.(*rsa.PublicKey), rs.Algorithm) {
				for _, alg := range []string{"HS256", "HS384", "HS512", "RS256"} {
					d.WantRejected(t, testserver.TypeJWT, p.Token(d, testserver.Signer{Algorithm: alg, Sign: testserver.HS256(secret)}, rs.Algorithm, nil))
					d.WantRejected(t, testserver.TypeJWT, p.Token(d, testserver.Signer{Algorithm: alg, Sign: testserver.HS256(secret)}, "", nil))
				}
			}
			d.WantAccepted(t, testserver.TypeJWT, p.Token(d, rs, rs.Algorithm, nil))
		})
	}
}

func TestExchangeWithoutASubjectTokenOpensNoSession(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		before := d.Written()
		for name, form := range map[string][]string{
			"nothing":                          {},
			"an empty one":                     {"subject_token", "", "subject_token_type", testserver.TypeJWT},
			"a space":                          {"subject_token", " ", "subject_token_type", testserver.TypeJWT},
			"only its type":                    {"subject_token_type", testserver.TypeJWT},
			"an actor in its place":            {"actor_token", d.Issuer.Token(d.URL, "alice", nil), "actor_token_type", testserver.TypeJWT},
			"a client assertion in its place":  {"assertion", d.Issuer.Token(d.URL, "alice", nil), "subject_token_type", testserver.TypeJWT},
			"a scope, as for its own token":    {"scope", "profile"},
			"the client's id as subject":       {"subject_token", "backend", "subject_token_type", testserver.TypeJWT},
			"the client's secret as subject":   {"subject_token", testserver.ClientSecret, "subject_token_type", testserver.TypeJWT},
			"only the type of an access token": {"subject_token_type", "urn:ietf:params:oauth:token-type:access_token"},
		} {
			a := d.Post("/token", append([]string{"grant_type", testserver.GrantTokenExchange}, form...), testserver.Basic("backend", testserver.ClientSecret))
			if a.Status != 400 || a.Error() != "invalid_request" || a.JSON["access_token"] != nil {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
			d.WantUnchanged(t, before)
		}
	})
}

func TestExchangeRejectsTokensOfAnEndedSession(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		form := d.BackendExchangeForm("alice")
		a := d.Want(200, "", d.Post("/token", form, asBackend))
		d.Want(200, "", d.Post("/revoke", []string{"token", a.Text("refresh_token")}, asBackend))
		d.Clock.Advance(time.Second)
		d.Want(400, "invalid_request", d.Post("/token", form, asBackend)) // its client token, which has not expired
		left := d.Stored("sessions", "users", "spent_tokens")
		for _, kind := range []string{"access_token", "refresh_token", "session_token"} {
			for _, as := range []string{testserver.TypeJWT, testserver.TypeIDToken, "urn:ietf:params:oauth:token-type:access_token", "urn:latchkey:params:oauth:token-type:session"} {
				a := d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", as, "subject_token", a.Text(kind)}, asBackend)
				d.Want(400, "invalid_request", a)
			}
		}
		if after := d.Stored("sessions", "users", "spent_tokens"); after != left {
			t.Errorf("stored:\n%s\nbefore:\n%s", after, left)
		}
		if d.Active(a.Text("access_token")) {
			t.Error("the session is back")
		}
	})
}

// TestNoTokenPassesForAnotherKind presents every kind of token wherever another kind is
// expected.
func TestNoTokenPassesForAnotherKind(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		p := testserver.NewIssuer(t, d.Clock)
		provider := p.Entry()
		provider.TokenType, provider.Audiences, provider.SubjectPrefix = settings.TokenTypeIDToken, []string{"app"}, "p:"
		tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		tenant.TrustedIssuers = append(tenant.TrustedIssuers, provider)
		d.Apply(tenant)
		mine := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), asBackend))
		public := d.SignIn("alice")
		signed := d.Want(200, "", d.Post("/introspect", []string{"token", mine.Text("access_token")}, asBackend, testserver.Accept(testserver.IntrospectionJWT)))
		foreign := func(typ string) string {
			claims := d.Issuer.Claims(d.URL, "alice")
			claims["client_id"], claims["sid"] = "backend", mine.Text("session_id")
			claims["events"] = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
			text, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			return testserver.Forge(`{"alg":"ES256","kid":"test-key","typ":"`+typ+`"}`, string(text), testserver.ES256(d.Issuer.Key.(*ecdsa.PrivateKey)))
		}
		tokens := map[string]string{
			"access token": mine.Text("access_token"), "refresh token": mine.Text("refresh_token"), "session token": mine.Text("session_token"),
			"signed introspection":   string(signed.Body),
			"client token":           d.Issuer.Token(d.URL, "alice", nil),
			"ID token":               p.Token("app", "alice", nil),
			"logout token":           foreign("logout+jwt"),
			"client assertion":       foreign("client-authentication+jwt"),
			"security event":         foreign("secevent+jwt"),
			"someone's access token": foreign("at+jwt"),
		}
		places := map[string]struct {
			takes string
			show  func(token string) *testserver.Answer
		}{
			"client token": {"client token", func(token string) *testserver.Answer {
				return d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", token}, asBackend)
			}},
			"ID token": {"ID token", func(token string) *testserver.Answer {
				return d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeIDToken, "subject_token", token}, asBackend)
			}},
			"access token as subject": {"", func(token string) *testserver.Answer {
				return d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", "urn:ietf:params:oauth:token-type:access_token", "subject_token", token}, asBackend)
			}},
			"refresh token": {"refresh token", func(token string) *testserver.Answer {
				return d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", token}, asBackend)
			}},
			"client assertion": {"", func(token string) *testserver.Answer {
				return d.Post("/token", []string{"grant_type", "client_credentials", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", token})
			}},
			"assertion grant": {"", func(token string) *testserver.Answer {
				return d.Post("/token", []string{"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion", token}, asBackend)
			}},
			"client secret": {"", func(token string) *testserver.Answer {
				return d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", token))
			}},
			"bearer at introspection": {"", func(token string) *testserver.Answer {
				return d.Post("/introspect", []string{"token", public.Text("access_token")}, testserver.Authorization("Bearer "+token))
			}},
			"bearer at revocation": {"", func(token string) *testserver.Answer {
				return d.Post("/revoke", []string{"client_id", "web", "token", public.Text("access_token")}, testserver.Authorization("Bearer "+token))
			}},
		}
		before := d.Written()
		for place, at := range places {
			for kind, token := range tokens {
				if token == "" {
					t.Fatalf("there is no %s", kind)
				}
				if kind == at.takes {
					continue
				}
				if a := at.show(token); a.Status != http.StatusBadRequest && a.Status != http.StatusUnauthorized || a.JSON["access_token"] != nil {
					t.Errorf("%s as %s: %d %s", kind, place, a.Status, a.Body)
				}
			}
		}
		for kind, token := range tokens {
			if active := kind == "access token" || kind == "refresh token" || kind == "session token"; d.Active(token) != active {
				t.Errorf("%s is active: %t", kind, !active)
			}
		}
		d.WantUnchanged(t, before)
		for place, at := range places { // each token is valid in its own place
			if at.takes != "" {
				if a := at.show(tokens[at.takes]); a.Status != 200 {
					t.Errorf("%s: %d %s", place, a.Status, a.Body)
				}
			}
		}
		if !d.Active(public.Text("access_token")) {
			t.Error("a session was ended")
		}
	})
}

func TestNoClientGetsATargetThatResemblesItsOwn(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		client := testserver.Backend()
		client.Audiences = []string{"https://api.example.com/v1", "urn:a:x"}
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), client))
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		good := d.Want(200, "", d.Post("/token", append(d.BackendExchangeForm("alice"), "audience", "https://api.example.com/v1", "audience", "urn:a:x"), asBackend))
		subject, before := d.BackendExchangeForm("bob"), d.Written()
		for _, target := range []string{
			"urn:b:y", "urn:a:xy", "urn:a", "urn:a:X", "URN:a:x", "urn:a:x:y", "urn:a:x ", "urn:a:x,urn:b:y", "urn:a:x urn:b:y",
			"https://api.example.com/v1/../admin", "https://api.example.com/v1/%2e%2e/admin", "https://api.example.com/v1/", "https://api.example.com/v1/sub",
			"https://api.example.com/v1?x", "https://api.example.com/v1#f", "https://api.example.com/v1?", "https://api.example.com/v1#",
			"https://evil@api.example.com/v1", "https://api.example.com@evil.example/v1", "https://api.example.com.evil.example/v1",
			"https://api.example.com:443/v1", "https://API.example.com/v1", "HTTPS://api.example.com/v1", "http://api.example.com/v1",
			"https://api.example.com", "https://api.example.com/", "https://api.example.com//v1", "//api.example.com/v1", "/v1", "https:", "*", "web",
			"https://api.example.com/v1\t", "https://api.example.com\\v1", d.URL,
		} {
			for _, parameter := range []string{"audience", "resource"} {
				for grant, form := range map[string][]string{
					"exchange":           subject,
					"refresh":            {"grant_type", "refresh_token", "refresh_token", good.Text("refresh_token")},
					"client credentials": {"grant_type", "client_credentials"},
				} {
					for _, extra := range [][]string{nil, {parameter, "urn:a:x"}} { // also in addition to a target that it may have
						a := d.Post("/token", append(append([]string{}, form...), append(extra, parameter, target)...), asBackend)
						if a.Status != 400 || a.Error() != "invalid_target" {
							t.Fatalf("%s with %s %q: %d %s", grant, parameter, target, a.Status, a.Body)
						}
					}
				}
			}
		}
		d.WantUnchanged(t, before)
		d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", good.Text("refresh_token")}, asBackend))
		if a := d.Want(200, "", d.Post("/token", subject, asBackend)); testserver.Claims(t, a)["aud"] != "backend" {
			t.Errorf("aud %v", testserver.Claims(t, a)["aud"])
		}
	})
}

func TestNoIssuerVouchesInAnotherNamespace(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		short, long := testserver.NewIssuer(t, d.Clock), testserver.NewIssuer(t, d.Clock)
		a, ab := short.Entry(), long.Entry()
		a.SubjectPrefix, ab.SubjectPrefix = "a", "ab"
		tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		tenant.TrustedIssuers = append(tenant.TrustedIssuers, a, ab)
		if faults := settings.ValidateTenants([]settings.TenantSpec{tenant}, d.URL); len(faults) != 1 || !strings.Contains(faults.Error(), "overlaps") {
			t.Errorf("%v", faults)
		}
		if _, err := d.Store.Apply(t.Context(), []settings.TenantSpec{tenant}, d.Keys, models.ApplyOptions{Replace: true}); err == nil {
			t.Error("overlapping namespaces were stored")
		}
		// Somebody with write access to the database passes both checks, but no others.
		tenant.TrustedIssuers[1].SubjectPrefix = "c"
		d.Apply(tenant)
		db := testserver.OpenDatabase(t, d.DatabaseURL)
		for _, statement := range []string{
			`UPDATE trusted_issuers SET settings = replace(settings, '"subject_prefix":"c"', '"subject_prefix":"a"')`,
			`UPDATE tenants SET revision = revision + 1`,
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := d.Written()
		for _, token := range []string{
			short.Token(d.URL, "bX", nil), long.Token(d.URL, "X", nil), short.Token(d.URL, "b", nil), // a + bX equals ab + X, so it belongs to nobody
			d.Issuer.Token(d.URL, "abX", nil), d.Issuer.Token(d.URL, "aX", nil), d.Issuer.Token(d.URL, "a", nil), // from the entry without a prefix
			d.Issuer.Token(d.URL, "web", nil), d.Issuer.Token(d.URL, "backend", nil), // client ids
		} {
			d.Want(400, "invalid_request", d.Exchange("", "web", token))
		}
		d.WantUnchanged(t, before)
		for want, token := range map[string]string{"aX": short.Token(d.URL, "X", nil), "X": d.Issuer.Token(d.URL, "X", nil)} {
			if a := d.Want(200, "", d.Exchange("", "web", token)); testserver.Claims(t, a)["sub"] != want {
				t.Errorf("sub %v, want %s", testserver.Claims(t, a)["sub"], want)
			}
		}
	})
}
