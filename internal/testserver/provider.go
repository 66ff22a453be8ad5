package testserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/latchkey/latchkey/settings"
)

// Signer is one key of a provider, with the algorithm name in its tokens.
type Signer struct {
	Algorithm string
	Public    crypto.PublicKey
	Sign      func(input string) []byte
}

// Signers returns one key of each kind, generated once, because RSA keys are slow.
var Signers = sync.OnceValue(func() []Signer {
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
	return []Signer{
		{"RS256", key.Public(), func(in string) []byte { return must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest(in))) }},
		{"PS256", key.Public(), func(in string) []byte { return must(rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest(in), nil)) }},
		{"ES256", ec.Public(), ES256(ec)},
		{"EdDSA", public, edwards},
		{"Ed25519", public, edwards}, // the name of RFC 9864
	}
})

// Provider is an issuer that a test can make unavailable.
type Provider struct {
	oidctest.Server
	URL string

	mu       sync.Mutex
	Down     bool
	Hang     chan struct{} // requests wait until it is closed
	Requests chan string   // the paths
}

func NewProvider(t *testing.T) *Provider {
	t.Helper()
	p := &Provider{Requests: make(chan string, 100)}
	for _, s := range Signers()[:4] {
		p.PublicKeys = append(p.PublicKeys, oidctest.PublicKey{PublicKey: s.Public, KeyID: s.Algorithm, Algorithm: s.Algorithm})
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	p.SetIssuer(p.URL)
	return p
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.Requests <- r.URL.Path
	p.mu.Lock()
	down, hangs := p.Down, p.Hang
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

func (p *Provider) Update(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// Entry returns the provider as a trusted issuer with its own namespace.
func (p *Provider) Entry(keys settings.IssuerKeys) settings.IssuerSpec {
	return settings.IssuerSpec{IssuerSettings: settings.IssuerSettings{
		Issuer: p.URL, TokenType: settings.TokenTypeJWT, Keys: keys, AllowPrivateAddresses: true, SubjectPrefix: "p:",
		Algorithms: []string{"RS256", "PS256", "ES256", "EdDSA"},
	}}
}

// Token returns a valid token signed by s, with kid unless it is empty. The claims in
// over override its own.
func (p *Provider) Token(d *Exchanger, s Signer, kid string, over map[string]any) string {
	now := d.Clock.Now().Unix()
	all := map[string]any{"iss": p.URL, "aud": d.URL, "sub": "alice", "jti": rand.Text(), "iat": now, "exp": now + 60}
	for name, value := range over {
		all[name] = value
	}
	payload, err := json.Marshal(all)
	if err != nil {
		d.T.Fatal(err)
	}
	if kid != "" {
		kid = `,"kid":"` + kid + `"`
	}
	return Forge(`{"alg":"`+s.Algorithm+`"`+kid+`}`, string(payload), s.Sign)
}

func PEM(t *testing.T, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func Trusting(entries ...settings.IssuerSpec) func(*settings.TenantSpec) {
	return func(tenant *settings.TenantSpec) {
		for i, e := range entries {
			if e.ID == "" && len(entries) > 1 { // several entries may have the same host
				e.ID = fmt.Sprintf("entry-%d", i)
			}
			tenant.TrustedIssuers = append(tenant.TrustedIssuers, e)
		}
	}
}
