package testserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/settings"
)

// Issuer is an external authentication service: it signs client tokens and publishes its
// key with OpenID Connect discovery.
type Issuer struct {
	URL   string
	Key   crypto.Signer
	Clock *Clock

	t testing.TB
}

// NewIssuer starts an issuer with an ES256 key and the given clock.
func NewIssuer(t testing.TB, clock *Clock) *Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	provider := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "test-key", Algorithm: oidc.ES256}}}
	server := httptest.NewServer(provider)
	t.Cleanup(server.Close)
	provider.SetIssuer(server.URL)
	return &Issuer{URL: server.URL, Key: key, Clock: clock, t: t}
}

// JWKS returns the issuer's key set.
func (i *Issuer) JWKS() json.RawMessage {
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.Key.Public(), KeyID: "test-key", Algorithm: "ES256", Use: "sig"}}})
	must(i.t, err)
	return text
}

// Entry returns the issuer as a trusted issuer of type jwt with inline keys.
func (i *Issuer) Entry() settings.IssuerSpec {
	return settings.IssuerSpec{IssuerSettings: settings.IssuerSettings{
		Issuer: i.URL, TokenType: settings.TokenTypeJWT, Algorithms: []string{"ES256"}, Keys: settings.IssuerKeys{JWKS: i.JWKS()},
	}}
}

// Claims returns the claims of a valid client token for audience aud, with a new jti.
func (i *Issuer) Claims(aud, sub string) map[string]any {
	now := i.Clock.Now()
	return map[string]any{
		"iss": i.URL, "aud": aud, "sub": sub, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
}

// Sign signs claims as a JWT of the issuer.
func (i *Issuer) Sign(claims map[string]any) string {
	text, err := json.Marshal(claims)
	must(i.t, err)
	return i.SignText(string(text))
}

// SignText signs a payload as it is.
func (i *Issuer) SignText(text string) string {
	return oidctest.SignIDToken(i.Key, "test-key", oidc.ES256, text)
}

// Token returns a valid client token. Extra claims override its own.
func (i *Issuer) Token(aud, sub string, extra map[string]any) string {
	claims := i.Claims(aud, sub)
	maps.Copy(claims, extra)
	return i.Sign(claims)
}
