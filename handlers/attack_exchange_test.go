package handlers_test

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
)

// spellings are the texts by which a public RSA key is known: whoever verifies
// with "the key" might take any of them for a MAC's.
func spellings(t *testing.T, key *rsa.PublicKey, kid string) map[string][]byte {
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

func TestExchangeRefusesAMACByAnIssuersPublicRSAKey(t *testing.T) {
	d, p := newDesk(t, testdb.SQLite(t)), newProvider(t)
	rs := signers()[0]
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: rs.public, KeyID: rs.alg}}})
	if err != nil {
		t.Fatal(err)
	}
	for source, keys := range map[string]models.IssuerKeys{
		"discovery": {Discovery: true}, "a key set": {JWKS: set}, "PEM": {PEM: asPEM(t, rs.public)},
	} {
		t.Run(source, func(t *testing.T) {
			d.change(trusting(p.entry(keys)))
			for _, secret := range spellings(t, rs.public.(*rsa.PublicKey), rs.alg) {
				for _, alg := range []string{"HS256", "HS384", "HS512", "RS256"} {
					d.refuses(t, ofJWT, p.token(d, signer{alg, nil, hs256(secret)}, rs.alg, nil))
					d.refuses(t, ofJWT, p.token(d, signer{alg, nil, hs256(secret)}, "", nil))
				}
			}
			d.takes(t, ofJWT, p.token(d, rs, rs.alg, nil))
		})
	}
}

func TestExchangeWithoutASubjectTokenIsNoSessionOfTheClient(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		before := w.written()
		for name, form := range map[string][]string{
			"nothing":                           {},
			"an empty one":                      {"subject_token", "", "subject_token_type", ofJWT},
			"a space":                           {"subject_token", " ", "subject_token_type", ofJWT},
			"its type alone":                    {"subject_token_type", ofJWT},
			"an actor in its place":             {"actor_token", w.issuer.Token(w.URL, "alice", nil), "actor_token_type", ofJWT},
			"a client assertion in its place":   {"assertion", w.issuer.Token(w.URL, "alice", nil), "subject_token_type", ofJWT},
			"a scope, as for its own token":     {"scope", "profile"},
			"the client's id as subject":        {"subject_token", "backend", "subject_token_type", ofJWT},
			"the client's secret as subject":    {"subject_token", testserver.ClientSecret, "subject_token_type", ofJWT},
			"the type of an access token alone": {"subject_token_type", "urn:ietf:params:oauth:token-type:access_token"},
		} {
			a := w.Post("/token", append([]string{"grant_type", tokenExchange}, form...), testserver.Basic("backend", testserver.ClientSecret))
			if a.Status != 400 || a.Error() != "invalid_request" || a.JSON["access_token"] != nil {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
			w.same(t, before)
		}
	})
}

func TestExchangeRefusesWhatALoggedOutSessionLeaves(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		form := w.exchangeAsBackend("alice")
		a := w.want(200, "", w.Post("/token", form, asBackend))
		w.want(200, "", w.Post("/revoke", []string{"token", a.Text("refresh_token")}, asBackend))
		w.Clock.Advance(time.Second)
		w.want(400, "invalid_request", w.Post("/token", form, asBackend)) // its client token, not yet expired
		left := w.stored("sessions", "users", "spent_tokens")
		for _, kind := range []string{"access_token", "refresh_token", "session_token"} {
			for _, as := range []string{ofJWT, ofIDToken, "urn:ietf:params:oauth:token-type:access_token", "urn:latchkey:params:oauth:token-type:session"} {
				a := w.Post("/token", []string{"grant_type", tokenExchange, "subject_token_type", as, "subject_token", a.Text(kind)}, asBackend)
				w.want(400, "invalid_request", a)
			}
		}
		if after := w.stored("sessions", "users", "spent_tokens"); after != left {
			t.Errorf("stored:\n%s\nbefore:\n%s", after, left)
		}
		if w.active(a.Text("access_token")) {
			t.Error("the session is back")
		}
	})
}

// TestNoTokenPassesForOneOfAnotherKind shows every kind of token at every
// place where another kind belongs.
func TestNoTokenPassesForOneOfAnotherKind(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		p := testserver.NewIssuer(t, w.Clock)
		provider := p.Entry()
		provider.TokenType, provider.Audiences, provider.SubjectPrefix = models.TokenTypeIDToken, []string{"app"}, "p:"
		tenant := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
		tenant.TrustedIssuers = append(tenant.TrustedIssuers, provider)
		w.Apply(tenant)
		mine := w.want(200, "", w.Post("/token", w.exchangeAsBackend("alice"), asBackend))
		public := w.signIn("alice")
		signed := w.want(200, "", w.Post("/introspect", []string{"token", mine.Text("access_token")}, asBackend, accept(introspectionJWT)))
		foreign := func(typ string) string {
			claims := w.issuer.Claims(w.URL, "alice")
			claims["client_id"], claims["sid"] = "backend", mine.Text("session_id")
			claims["events"] = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
			text, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			return forge(`{"alg":"ES256","kid":"test-key","typ":"`+typ+`"}`, string(text), es256(w.issuer.Key.(*ecdsa.PrivateKey)))
		}
		tokens := map[string]string{
			"access token": mine.Text("access_token"), "refresh token": mine.Text("refresh_token"), "session token": mine.Text("session_token"),
			"signed introspection":   string(signed.Body),
			"client token":           w.issuer.Token(w.URL, "alice", nil),
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
				return w.Post("/token", []string{"grant_type", tokenExchange, "subject_token_type", ofJWT, "subject_token", token}, asBackend)
			}},
			"ID token": {"ID token", func(token string) *testserver.Answer {
				return w.Post("/token", []string{"grant_type", tokenExchange, "subject_token_type", ofIDToken, "subject_token", token}, asBackend)
			}},
			"access token as subject": {"", func(token string) *testserver.Answer {
				return w.Post("/token", []string{"grant_type", tokenExchange, "subject_token_type", "urn:ietf:params:oauth:token-type:access_token", "subject_token", token}, asBackend)
			}},
			"refresh token": {"refresh token", func(token string) *testserver.Answer {
				return w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", token}, asBackend)
			}},
			"client assertion": {"", func(token string) *testserver.Answer {
				return w.Post("/token", []string{"grant_type", "client_credentials", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", token})
			}},
			"assertion grant": {"", func(token string) *testserver.Answer {
				return w.Post("/token", []string{"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion", token}, asBackend)
			}},
			"client secret": {"", func(token string) *testserver.Answer {
				return w.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", token))
			}},
			"bearer at introspection": {"", func(token string) *testserver.Answer {
				return w.Post("/introspect", []string{"token", public.Text("access_token")}, authorization("Bearer "+token))
			}},
			"bearer at revocation": {"", func(token string) *testserver.Answer {
				return w.Post("/revoke", []string{"client_id", "web", "token", public.Text("access_token")}, authorization("Bearer "+token))
			}},
		}
		before := w.written()
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
			if active := kind == "access token" || kind == "refresh token" || kind == "session token"; w.active(token) != active {
				t.Errorf("%s is active: %t", kind, !active)
			}
		}
		w.same(t, before)
		for place, at := range places { // what was refused elsewhere is good in its place
			if at.takes != "" {
				if a := at.show(tokens[at.takes]); a.Status != 200 {
					t.Errorf("%s: %d %s", place, a.Status, a.Body)
				}
			}
		}
		if !w.active(public.Text("access_token")) {
			t.Error("a session was ended")
		}
	})
}

func TestNoClientGetsATargetThatOnlyResemblesItsOwn(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		client := testserver.Backend()
		client.Audiences = []string{"https://api.example.com/v1", "urn:a:x"}
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), client))
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		good := w.want(200, "", w.Post("/token", append(w.exchangeAsBackend("alice"), "audience", "https://api.example.com/v1", "audience", "urn:a:x"), asBackend))
		subject, before := w.exchangeAsBackend("bob"), w.written()
		for _, target := range []string{
			"urn:b:y", "urn:a:xy", "urn:a", "urn:a:X", "URN:a:x", "urn:a:x:y", "urn:a:x ", "urn:a:x,urn:b:y", "urn:a:x urn:b:y",
			"https://api.example.com/v1/../admin", "https://api.example.com/v1/%2e%2e/admin", "https://api.example.com/v1/", "https://api.example.com/v1/sub",
			"https://api.example.com/v1?x", "https://api.example.com/v1#f", "https://api.example.com/v1?", "https://api.example.com/v1#",
			"https://evil@api.example.com/v1", "https://api.example.com@evil.example/v1", "https://api.example.com.evil.example/v1",
			"https://api.example.com:443/v1", "https://API.example.com/v1", "HTTPS://api.example.com/v1", "http://api.example.com/v1",
			"https://api.example.com", "https://api.example.com/", "https://api.example.com//v1", "//api.example.com/v1", "/v1", "https:", "*", "web",
			"https://api.example.com/v1\t", "https://api.example.com\\v1", w.URL,
		} {
			for _, parameter := range []string{"audience", "resource"} {
				for grant, form := range map[string][]string{
					"exchange":           subject,
					"refresh":            {"grant_type", "refresh_token", "refresh_token", good.Text("refresh_token")},
					"client credentials": {"grant_type", "client_credentials"},
				} {
					for _, extra := range [][]string{nil, {parameter, "urn:a:x"}} { // also beside one that it may have
						a := w.Post("/token", append(append([]string{}, form...), append(extra, parameter, target)...), asBackend)
						if a.Status != 400 || a.Error() != "invalid_target" {
							t.Fatalf("%s with %s %q: %d %s", grant, parameter, target, a.Status, a.Body)
						}
					}
				}
			}
		}
		w.same(t, before)
		w.want(200, "", w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", good.Text("refresh_token")}, asBackend))
		if a := w.want(200, "", w.Post("/token", subject, asBackend)); claims(t, a)["aud"] != "backend" {
			t.Errorf("aud %v", claims(t, a)["aud"])
		}
	})
}

func TestNoIssuerReachesIntoAnothersNamespace(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		short, long := testserver.NewIssuer(t, w.Clock), testserver.NewIssuer(t, w.Clock)
		a, ab := short.Entry(), long.Entry()
		a.SubjectPrefix, ab.SubjectPrefix = "a", "ab"
		tenant := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
		tenant.TrustedIssuers = append(tenant.TrustedIssuers, a, ab)
		if faults := models.ValidateTenants([]models.TenantSpec{tenant}, w.URL); len(faults) != 1 || !strings.Contains(faults.Error(), "overlaps") {
			t.Errorf("%v", faults)
		}
		if _, err := w.Store.Apply(t.Context(), []models.TenantSpec{tenant}, w.Keys, models.ApplyOptions{}); err == nil {
			t.Error("overlapping namespaces were stored")
		}
		// Whoever writes to the database gets past both, and no further.
		tenant.TrustedIssuers[1].SubjectPrefix = "c"
		w.Apply(tenant)
		db := openDatabase(t, w.DatabaseURL)
		for _, statement := range []string{
			`UPDATE trusted_issuers SET settings = replace(settings, '"subject_prefix":"c"', '"subject_prefix":"a"')`,
			`UPDATE tenants SET revision = revision + 1`,
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := w.written()
		for _, token := range []string{
			short.Token(w.URL, "bX", nil), long.Token(w.URL, "X", nil), short.Token(w.URL, "b", nil), // a + bX is ab + X, so it is nobody's
			w.issuer.Token(w.URL, "abX", nil), w.issuer.Token(w.URL, "aX", nil), w.issuer.Token(w.URL, "a", nil), // of the entry without a prefix
			w.issuer.Token(w.URL, "web", nil), w.issuer.Token(w.URL, "backend", nil), // client ids
		} {
			w.want(400, "invalid_request", w.Exchange("", "web", token))
		}
		w.same(t, before)
		for want, token := range map[string]string{"aX": short.Token(w.URL, "X", nil), "X": w.issuer.Token(w.URL, "X", nil)} {
			if a := w.want(200, "", w.Exchange("", "web", token)); claims(t, a)["sub"] != want {
				t.Errorf("sub %v, want %s", claims(t, a)["sub"], want)
			}
		}
	})
}
