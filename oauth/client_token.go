package oauth

import (
	"crypto"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/oauth/keys"
)

// ClientTokenTTL is the lifetime of the client tokens of a ClientTokenIssuer.
const ClientTokenTTL = time.Minute

// ClientTokenIssuer mints client tokens for one tenant, on behalf of a back end
// that has authenticated the user itself. It is a trusted issuer like any
// other, with its own issuer URL and key.
type ClientTokenIssuer struct {
	Issuer   string // {iss}/client-tokens
	Audience string // {iss}
	Key      crypto.Signer
	Now      func() time.Time
}

// JWKS returns the issuer's key set, for its entry among the trusted issuers.
func (i *ClientTokenIssuer) JWKS() (json.RawMessage, error) {
	kid, err := keys.Thumbprint(i.Key.Public())
	if err != nil {
		return nil, err
	}
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: i.Key.Public(), KeyID: kid, Algorithm: string(jose.ES256), Use: "sig"},
	}})
}

// Mint returns a single-use client token. The given claims are added to those
// that every client token has, and cannot replace them.
func (i *ClientTokenIssuer) Mint(sub string, amr []string, claims map[string]any) (string, error) {
	kid, err := keys.Thumbprint(i.Key.Public())
	if err != nil {
		return "", err
	}
	key := jose.JSONWebKey{Key: cryptosigner.Opaque(i.Key), KeyID: kid}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType(jws.TypJWT))
	if err != nil {
		return "", fmt.Errorf("client token: %w", err)
	}
	now := i.Now()
	token := map[string]any{}
	maps.Copy(token, claims)
	maps.Copy(token, map[string]any{
		"iss": i.Issuer, "aud": i.Audience, "sub": sub, "jti": newJTI(),
		"iat": now.Unix(), "exp": now.Add(ClientTokenTTL).Unix(), "auth_time": now.Unix(),
	})
	if len(amr) > 0 {
		token["amr"] = amr
	}
	payload, err := json.Marshal(token)
	if err != nil {
		return "", fmt.Errorf("client token: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("client token: %w", err)
	}
	return signed.CompactSerialize()
}
