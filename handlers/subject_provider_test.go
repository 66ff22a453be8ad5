package handlers_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// signer is one key of a provider, with the algorithm as a token names it.
type signer struct {
	alg    string
	public crypto.PublicKey
	sign   func(input string) []byte
}

// signers are one of each kind; making the RSA key is slow.
var signers = sync.OnceValue(func() []signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	digest := func(input string) []byte { sum := sha256.Sum256([]byte(input)); return sum[:] }
	must := func(signature []byte, err error) []byte {
		if err != nil {
			panic(err)
		}
		return signature
	}
	edwards := func(input string) []byte { return ed25519.Sign(private, []byte(input)) }
	return []signer{
		{"RS256", key.Public(), func(in string) []byte { return must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest(in))) }},
		{"PS256", key.Public(), func(in string) []byte { return must(rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest(in), nil)) }},
		{"ES256", ec.Public(), es256(ec)},
		{"EdDSA", public, edwards},
		{"Ed25519", public, edwards}, // the name of RFC 9864
	}
})

// provider is an issuer that a test can take away.
type provider struct {
	oidctest.Server
	url string

	mu    sync.Mutex
	down  bool
	hangs chan struct{} // until it is closed, nothing is answered
	asked chan string   // the paths
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{asked: make(chan string, 100)}
	for _, s := range signers()[:4] {
		p.PublicKeys = append(p.PublicKeys, oidctest.PublicKey{PublicKey: s.public, KeyID: s.alg, Algorithm: s.alg})
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	p.SetIssuer(p.url)
	return p
}

// ServeHTTP implements http.Handler.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked <- r.URL.Path
	p.mu.Lock()
	down, hangs := p.down, p.hangs
	p.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	if down {
		http.Error(w, "out of order", http.StatusBadGateway)
		return
	}
	p.Server.ServeHTTP(w, r)
}

func (p *provider) set(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// entry is the provider as a trusted issuer with a namespace of its own.
func (p *provider) entry(keys models.IssuerKeys) models.IssuerSpec {
	return models.IssuerSpec{IssuerSettings: models.IssuerSettings{
		Issuer: p.url, TokenType: models.TokenTypeJWT, Keys: keys, AllowPrivateAddresses: true, SubjectPrefix: "p:",
		Algorithms: []string{"RS256", "PS256", "ES256", "EdDSA"},
	}}
}

// token is a good one by s under kid, if it is not empty, with these claims
// over its own.
func (p *provider) token(d *desk, s signer, kid string, over map[string]any) string {
	now := d.Clock.Now().Unix()
	all := map[string]any{"iss": p.url, "aud": d.URL, "sub": "alice", "jti": rand.Text(), "iat": now, "exp": now + 60}
	for name, value := range over {
		all[name] = value
	}
	payload, err := json.Marshal(all)
	if err != nil {
		d.t.Fatal(err)
	}
	if kid != "" {
		kid = `,"kid":"` + kid + `"`
	}
	return forge(`{"alg":"`+s.alg+`"`+kid+`}`, string(payload), s.sign)
}

func asPEM(t *testing.T, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func trusting(entries ...models.IssuerSpec) func(*models.TenantSpec) {
	return func(tenant *models.TenantSpec) { tenant.TrustedIssuers = append(tenant.TrustedIssuers, entries...) }
}

func TestExchangeFindsTheKeysOfAnIssuer(t *testing.T) {
	d, p := newDesk(t, testdb.SQLite(t)), newProvider(t)
	set := jose.JSONWebKeySet{}
	pems := ""
	for _, s := range signers()[:4] {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.public, KeyID: s.alg, Algorithm: s.alg, Use: "sig"})
		pems += asPEM(t, s.public)
	}
	inline, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string]models.IssuerKeys{
		"discovery": {Discovery: true}, "jwks_uri": {JWKSURI: p.url + "/keys"}, "jwks": {JWKS: inline}, "pem": {PEM: pems},
	} {
		t.Run(name, func(t *testing.T) {
			d.change(trusting(p.entry(keys)))
			for i, s := range signers() {
				kid := signers()[min(i, 3)].alg
				d.takes(t, ofJWT, p.token(d, s, kid, nil))
				d.refuses(t, ofJWT, p.token(d, signer{s.alg, nil, es256(newES256Key(t))}, kid, nil))
				if name != "pem" { // whose keys have no names
					d.refuses(t, ofJWT, p.token(d, s, "other", nil))
					d.refuses(t, ofJWT, p.token(d, s, signers()[(min(i, 3)+1)%4].alg, nil)) // a key marked for another algorithm
				}
			}
			entry := p.entry(keys)
			entry.Algorithms = nil
			d.change(trusting(entry))
			for _, s := range signers()[1:] { // only RS256, unless more are listed
				d.refuses(t, ofJWT, p.token(d, s, s.alg, nil))
			}
			d.takes(t, ofJWT, p.token(d, signers()[0], "RS256", nil))
		})
	}
}

func TestExchangeTakesATokenWithoutKidIfOneKeyFits(t *testing.T) {
	d, p := newDesk(t, testdb.SQLite(t)), newProvider(t)
	one, two := newES256Key(t), newES256Key(t)
	bare := func(key *ecdsa.PrivateKey) string { return p.token(d, signer{"ES256", nil, es256(key)}, "", nil) }
	d.change(trusting(p.entry(models.IssuerKeys{PEM: asPEM(t, one.Public()) + asPEM(t, signers()[0].public)})))
	d.takes(t, ofJWT, bare(one))
	d.refuses(t, ofJWT, bare(two))
	d.change(trusting(p.entry(models.IssuerKeys{PEM: asPEM(t, one.Public()) + asPEM(t, two.Public())})))
	d.refuses(t, ofJWT, bare(one))
	d.refuses(t, ofJWT, bare(two))
}

func TestExchangeTakesHS256WithASharedSecretAlone(t *testing.T) {
	d, p := newDesk(t, testdb.SQLite(t)), newProvider(t)
	const secret = "a shared secret of more than 32 bytes"
	entry := p.entry(models.IssuerKeys{SharedSecret: secret})
	entry.Algorithms = nil
	d.change(trusting(entry))
	d.takes(t, ofJWT, p.token(d, signer{"HS256", nil, hs256([]byte(secret))}, "any", nil))
	for name, s := range map[string]signer{
		"another secret": {"HS256", nil, hs256([]byte("another secret of more than 32 bytes"))},
		"no secret":      {"HS256", nil, hs256(nil)},
		"HS512 named":    {"HS512", nil, hs256([]byte(secret))},
		"none":           {"none", nil, hs256([]byte(secret))},
		"RS256":          signers()[0],
	} {
		t.Run("refuses "+name, func(t *testing.T) { d.refuses(t, ofJWT, p.token(d, s, s.alg, nil)) })
	}
}

func TestExchangeReadsIDTokensAsOpenIDConnectDoes(t *testing.T) {
	d, p := newDesk(t, testdb.SQLite(t)), newProvider(t)
	one, two := p.entry(models.IssuerKeys{Discovery: true}), p.entry(models.IssuerKeys{Discovery: true})
	one.TokenType, one.Audiences, one.ShareSubjects = models.TokenTypeIDToken, []string{"app-one", "app-one-api"}, true
	two.TokenType, two.Audiences, two.ShareSubjects, two.Clients = models.TokenTypeIDToken, []string{"app-two"}, true, []string{"backend"}
	d.change(trusting(one, two))
	now, es := d.Clock.Now().Unix(), signers()[2]
	for _, row := range []struct {
		name  string
		over  map[string]any
		taken bool
	}{
		{"our client id as audience", map[string]any{"aud": "app-one"}, true},
		{"no jti", map[string]any{"aud": "app-one", "jti": nil}, true},
		{"an hour's life", map[string]any{"aud": "app-one", "exp": now + 3600}, true},
		{"azp that is the audience", map[string]any{"aud": "app-one", "azp": "app-one"}, true},
		{"both audiences with azp", map[string]any{"aud": []string{"app-one", "app-one-api"}, "azp": "app-one"}, true},
		{"both audiences without azp", map[string]any{"aud": []string{"app-one", "app-one-api"}}, false},
		{"azp of a stranger", map[string]any{"aud": "app-one", "azp": "stranger"}, false},
		{"an empty azp", map[string]any{"aud": "app-one", "azp": ""}, false},
		{"an audience beside ours", map[string]any{"aud": []string{"app-one", "stranger"}, "azp": "app-one"}, false},
		{"the audiences of two entries", map[string]any{"aud": []string{"app-one", "app-two"}, "azp": "app-one"}, false},
		{"our issuer as audience", map[string]any{"aud": d.URL}, false},
		{"no aud", map[string]any{"aud": nil}, false},
		{"the other entry, whose tokens this client may not bring", map[string]any{"aud": "app-two"}, false},
		{"no exp", map[string]any{"aud": "app-one", "exp": nil}, false},
		{"an iat too long ago", map[string]any{"aud": "app-one", "iat": now - 331}, false},
		{"a jti that is a number", map[string]any{"aud": "app-one", "jti": 1}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			token := p.token(d, es, es.alg, row.over)
			d.refuses(t, ofJWT, token) // an ID token is no client token
			if row.taken {
				d.takes(t, ofIDToken, token)
			} else {
				d.refuses(t, ofIDToken, token)
			}
		})
	}
	t.Run("each entry has clients of its own", func(t *testing.T) {
		a := d.Post("/token", []string{"grant_type", tokenExchange, "subject_token_type", ofIDToken,
			"subject_token", p.token(d, es, es.alg, map[string]any{"aud": "app-two"})}, testserver.Basic("backend", testserver.ClientSecret))
		if in := d.Introspect("", a.Text("access_token")); a.Status != http.StatusOK || in.Text("sub") != "p:alice" {
			t.Errorf("answered %d %s, then %s", a.Status, a.Body, in.Body)
		}
	})
}

func TestExchangeTakesAnIDTokenWithoutJTIOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d, p := newDesk(t, url), newProvider(t)
		entry := p.entry(models.IssuerKeys{Discovery: true})
		entry.TokenType, entry.Audiences = models.TokenTypeIDToken, []string{"app"}
		d.change(trusting(entry))
		es, over := signers()[2], map[string]any{"aud": "app", "jti": nil}
		token := p.token(d, es, es.alg, over)
		input, encoded := token[:strings.LastIndex(token, ".")], token[strings.LastIndex(token, ".")+1:]
		raw, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		// (r, n−s) is as good a signature as (r, s).
		s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(raw[32:]))
		respelled := input + "." + part64(string(append(raw[:32:32], s.FillBytes(make([]byte, 32))...)))
		if n := race(t, func(i int) *testserver.Answer { return d.present(ofIDToken, []string{token, respelled}[i%2]) }); n != 1 || d.count("sessions") != 1 {
			t.Errorf("%d answered 200, %d sessions", n, d.count("sessions"))
		}
		again := p.token(d, es, es.alg, over)
		refusedSubject(t, d.present(ofIDToken, input+"."+again[strings.LastIndex(again, ".")+1:])) // signed anew
		d.takes(t, ofIDToken, p.token(d, es, es.alg, map[string]any{"aud": "app", "jti": nil, "nonce": "2"}))
	})
}
