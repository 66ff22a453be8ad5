package testwire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestExchangeFindsTheKeysOfAnIssuer(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	set := jose.JSONWebKeySet{}
	pems := ""
	for _, s := range testserver.Signers()[:4] {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.Public, KeyID: s.Algorithm, Algorithm: s.Algorithm, Use: "sig"})
		pems += testserver.PEM(t, s.Public)
	}
	inline, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string]settings.IssuerKeys{
		"discovery": {Discovery: true}, "jwks_uri": {JWKSURI: p.URL + "/keys"}, "jwks": {JWKS: inline}, "pem": {PEM: pems},
	} {
		t.Run(name, func(t *testing.T) {
			d.Reconfigure(testserver.Trusting(p.Entry(keys)))
			for i, s := range testserver.Signers() {
				kid := testserver.Signers()[min(i, 3)].Algorithm
				d.WantAccepted(t, testserver.TypeJWT, p.Token(d, s, kid, nil))
				d.WantRejected(t, testserver.TypeJWT, p.Token(d, testserver.Signer{Algorithm: s.Algorithm, Sign: testserver.ES256(testserver.NewES256Key(t))}, kid, nil))
				if name != "pem" { // PEM keys have no kid
					d.WantRejected(t, testserver.TypeJWT, p.Token(d, s, "other", nil))
					d.WantRejected(t, testserver.TypeJWT, p.Token(d, s, testserver.Signers()[(min(i, 3)+1)%4].Algorithm, nil)) // a key marked for another algorithm
				}
			}
			entry := p.Entry(keys)
			entry.Algorithms = nil
			d.Reconfigure(testserver.Trusting(entry))
			for _, s := range testserver.Signers()[1:] { // only RS256 is accepted by default
				d.WantRejected(t, testserver.TypeJWT, p.Token(d, s, s.Algorithm, nil))
			}
			d.WantAccepted(t, testserver.TypeJWT, p.Token(d, testserver.Signers()[0], "RS256", nil))
		})
	}
}

func TestExchangeAcceptsATokenWithoutKidIfOneKeyMatches(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	one, two := testserver.NewES256Key(t), testserver.NewES256Key(t)
	bare := func(key *ecdsa.PrivateKey) string {
		return p.Token(d, testserver.Signer{Algorithm: "ES256", Sign: testserver.ES256(key)}, "", nil)
	}
	d.Reconfigure(testserver.Trusting(p.Entry(settings.IssuerKeys{PEM: testserver.PEM(t, one.Public()) + testserver.PEM(t, testserver.Signers()[0].Public)})))
	d.WantAccepted(t, testserver.TypeJWT, bare(one))
	d.WantRejected(t, testserver.TypeJWT, bare(two))
	d.Reconfigure(testserver.Trusting(p.Entry(settings.IssuerKeys{PEM: testserver.PEM(t, one.Public()) + testserver.PEM(t, two.Public())})))
	d.WantRejected(t, testserver.TypeJWT, bare(one))
	d.WantRejected(t, testserver.TypeJWT, bare(two))
}

func TestExchangeAcceptsHS256OnlyWithASharedSecret(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	const secret = "a shared secret of more than 32 bytes"
	entry := p.Entry(settings.IssuerKeys{SharedSecret: secret})
	entry.Algorithms = nil
	d.Reconfigure(testserver.Trusting(entry))
	d.WantAccepted(t, testserver.TypeJWT, p.Token(d, testserver.Signer{Algorithm: "HS256", Sign: testserver.HS256([]byte(secret))}, "any", nil))
	for name, s := range map[string]testserver.Signer{
		"another secret": {Algorithm: "HS256", Sign: testserver.HS256([]byte("another secret of more than 32 bytes"))},
		"no secret":      {Algorithm: "HS256", Sign: testserver.HS256(nil)},
		"HS512 named":    {Algorithm: "HS512", Sign: testserver.HS256([]byte(secret))},
		"none":           {Algorithm: "none", Sign: testserver.HS256([]byte(secret))},
		"RS256":          testserver.Signers()[0],
	} {
		t.Run("rejects "+name, func(t *testing.T) { d.WantRejected(t, testserver.TypeJWT, p.Token(d, s, s.Algorithm, nil)) })
	}
}

func TestExchangeVerifiesIDTokensAsInOpenIDConnect(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	one, two := p.Entry(settings.IssuerKeys{Discovery: true}), p.Entry(settings.IssuerKeys{Discovery: true})
	one.TokenType, one.Audiences, one.ShareSubjects = settings.TokenTypeIDToken, []string{"app-one", "app-one-api"}, true
	two.TokenType, two.Audiences, two.ShareSubjects, two.Clients = settings.TokenTypeIDToken, []string{"app-two"}, true, []string{"backend"}
	d.Reconfigure(testserver.Trusting(one, two))
	now, es := d.Clock.Now().Unix(), testserver.Signers()[2]
	for _, row := range []struct {
		name  string
		over  map[string]any
		taken bool
	}{
		{"the client's id as audience", map[string]any{"aud": "app-one"}, true},
		{"no jti", map[string]any{"aud": "app-one", "jti": nil}, true},
		{"an hour's life", map[string]any{"aud": "app-one", "exp": now + 3600}, true},
		{"azp that is the audience", map[string]any{"aud": "app-one", "azp": "app-one"}, true},
		{"both audiences with azp", map[string]any{"aud": []string{"app-one", "app-one-api"}, "azp": "app-one"}, true},
		{"both audiences without azp", map[string]any{"aud": []string{"app-one", "app-one-api"}}, false},
		{"azp of a stranger", map[string]any{"aud": "app-one", "azp": "stranger"}, false},
		{"an empty azp", map[string]any{"aud": "app-one", "azp": ""}, false},
		{"an additional audience", map[string]any{"aud": []string{"app-one", "stranger"}, "azp": "app-one"}, false},
		{"the audiences of two entries", map[string]any{"aud": []string{"app-one", "app-two"}, "azp": "app-one"}, false},
		{"the tenant's issuer as audience", map[string]any{"aud": d.URL}, false},
		{"no aud", map[string]any{"aud": nil}, false},
		{"the other entry, which is not for this client", map[string]any{"aud": "app-two"}, false},
		{"no exp", map[string]any{"aud": "app-one", "exp": nil}, false},
		{"an iat too long ago", map[string]any{"aud": "app-one", "iat": now - 331}, false},
		{"a jti that is a number", map[string]any{"aud": "app-one", "jti": 1}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			token := p.Token(d, es, es.Algorithm, row.over)
			d.WantRejected(t, testserver.TypeJWT, token) // an ID token is not a client token
			if row.taken {
				d.WantAccepted(t, testserver.TypeIDToken, token)
			} else {
				d.WantRejected(t, testserver.TypeIDToken, token)
			}
		})
	}
	t.Run("each entry has its own clients", func(t *testing.T) {
		a := d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeIDToken,
			"subject_token", p.Token(d, es, es.Algorithm, map[string]any{"aud": "app-two"})}, testserver.Basic("backend", testserver.ClientSecret))
		if in := d.Introspect("", a.Text("access_token")); a.Status != http.StatusOK || in.Text("sub") != "p:alice" {
			t.Errorf("status %d %s, then %s", a.Status, a.Body, in.Body)
		}
	})
}

func TestExchangeAcceptsAnIDTokenWithoutJTIOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d, p := testserver.NewExchanger(t, url), testserver.NewProvider(t)
		entry := p.Entry(settings.IssuerKeys{Discovery: true})
		entry.TokenType, entry.Audiences = settings.TokenTypeIDToken, []string{"app"}
		d.Reconfigure(testserver.Trusting(entry))
		es, over := testserver.Signers()[2], map[string]any{"aud": "app", "jti": nil}
		token := p.Token(d, es, es.Algorithm, over)
		input, encoded := token[:strings.LastIndex(token, ".")], token[strings.LastIndex(token, ".")+1:]
		raw, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		// (r, n−s) is a valid signature like (r, s).
		s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(raw[32:]))
		respelled := input + "." + testserver.Base64(string(append(raw[:32:32], s.FillBytes(make([]byte, 32))...)))
		if n := race(t, func(i int) *testserver.Answer {
			return d.Present(testserver.TypeIDToken, []string{token, respelled}[i%2])
		}); n != 1 || d.Count("sessions") != 1 {
			t.Errorf("%d responses 200, %d sessions", n, d.Count("sessions"))
		}
		again := p.Token(d, es, es.Algorithm, over)
		testserver.WantSubjectRejected(t, d.Present(testserver.TypeIDToken, input+"."+again[strings.LastIndex(again, ".")+1:])) // with another signature
		d.WantAccepted(t, testserver.TypeIDToken, p.Token(d, es, es.Algorithm, map[string]any{"aud": "app", "jti": nil, "nonce": "2"}))
	})
}
