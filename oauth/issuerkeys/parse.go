package issuerkeys

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/settings"
)

// maxKeys is how many keys a key set may have (R-JK-14).
const maxKeys = 100

// Static are keys in the configuration.
type Static []jose.JSONWebKey

// Keys implements Source.
func (s Static) Keys(_ context.Context, match func(jose.JSONWebKey) bool) ([]jose.JSONWebKey, error) {
	return Matching(s, match), nil
}

// Matching returns the keys for which match returns true.
func Matching(set []jose.JSONWebKey, match func(jose.JSONWebKey) bool) []jose.JSONWebKey {
	var chosen []jose.JSONWebKey
	for _, k := range set {
		if match(k) {
			chosen = append(chosen, k)
		}
	}
	return chosen
}

// Parse parses the inline keys of an issuer entry. It returns nil if the entry
// has none.
func Parse(k settings.IssuerKeys) (Static, error) {
	switch {
	case k.JWKS != nil:
		return parseJWKS(k.JWKS)
	case k.PEM != "":
		return parsePEM([]byte(k.PEM))
	default:
		return nil, nil
	}
}

// parseJWKS returns the public signature keys that can be used for
// verification. The set may also contain other keys (RFC 7517 §5), but a set
// without a usable key is an error.
func parseJWKS(text []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, text := range raw.Keys {
		var k jose.JSONWebKey
		var also struct { // go-jose does not read it (RFC 7517 §4.3)
			KeyOps []string `json:"key_ops"`
		}
		if json.Unmarshal(text, &k) != nil || json.Unmarshal(text, &also) != nil || !usable(k) {
			continue
		}
		if also.KeyOps == nil || slices.Contains(also.KeyOps, "verify") {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errNoUsableKey
	}
	return keys, nil
}

var errNoUsableKey = errors.New("no usable public signature key (RSA of 2048 to 8192 bits, P-256 … P-521, Ed25519)")

// parsePEM parses public keys in PEM blocks.
func parsePEM(text []byte) ([]jose.JSONWebKey, error) {
	var keys []jose.JSONWebKey
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d is not a public key (PKIX, \"BEGIN PUBLIC KEY\")", len(keys)+1)
		}
		k := jose.JSONWebKey{Key: public}
		if !usable(k) {
			return nil, fmt.Errorf("PEM block %d: not RSA of 2048 to 8192 bits, P-256 … P-521 or Ed25519", len(keys)+1)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM block")
	}
	return keys, nil
}

// usable reports whether a key can verify signatures: it must not be private,
// symmetric, for encryption, or too short.
func usable(k jose.JSONWebKey) bool {
	if k.Use != "" && k.Use != "sig" || len(k.KeyID) > jws.MaxKid {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= 2048 && key.N.BitLen() <= 8192 // a huge key makes each verification slow
	case *ecdsa.PublicKey:
		return key.Curve.Params().BitSize >= 256
	case ed25519.PublicKey:
		return true
	default:
		return false
	}
}

// SupportAny reports whether any of the keys may verify tokens of any of the
// algorithms.
func (k Static) SupportAny(algorithms []string) bool {
	return slices.ContainsFunc(k, func(key jose.JSONWebKey) bool {
		return slices.ContainsFunc(algorithms, func(alg string) bool { return Supports(key, alg) })
	})
}

// Supports reports whether a key may verify tokens of alg. Its type
// must match and, if the key has an alg, that too (draft rfc8725bis §3.1).
func Supports(k jose.JSONWebKey, alg string) bool {
	if k.Algorithm != "" && AlgorithmName(k.Algorithm) != alg {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return alg[0] == 'R' || alg[0] == 'P'
	case *ecdsa.PublicKey:
		return map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Curve.Params().BitSize] == alg
	case ed25519.PublicKey:
		return alg == "EdDSA"
	default:
		return false
	}
}

// AlgorithmName returns one name for both names of EdDSA with Curve25519.
func AlgorithmName(alg string) string {
	if alg == "Ed25519" {
		return "EdDSA"
	}
	return alg
}
