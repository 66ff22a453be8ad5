package wire

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// maxKeys bounds the number of keys in a set.
const maxKeys = 100

// Key is a public key of the issuer. Equal pointers mean the same key, even
// after the key set was fetched again.
type Key struct {
	KeyID     string
	algorithm string
	public    any
	text      string // as JSON, to compare keys
}

// KeySet maps each kid to the issuer's key.
type KeySet map[string]*Key

// ReuseFrom replaces keys that did not change by those of the previous set, so
// that their pointers stay equal.
func (s KeySet) ReuseFrom(before KeySet) {
	for kid, k := range s {
		if known := before[kid]; known != nil && known.text == k.text {
			s[kid] = known
		}
	}
}

// ParseKeySet returns the public signature keys of a key set. Keys of other
// kinds are ignored (RFC 7517 §5).
func ParseKeySet(text []byte) (KeySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	keys := KeySet{}
	for _, text := range set.Keys {
		k := parseKey(text)
		if k == nil {
			continue
		}
		if keys[k.KeyID] != nil {
			return nil, fmt.Errorf("two keys have the kid %q", k.KeyID)
		}
		keys[k.KeyID] = k
	}
	if len(keys) == 0 {
		return nil, errors.New("no usable key: expected RSA of 2048 to 8192 bits, P-256 or Ed25519, with a kid and for signatures")
	}
	return keys, nil
}

// parseKey returns the key if it can verify one of the supported algorithms, or
// nil.
func parseKey(text []byte) *Key {
	var k jose.JSONWebKey
	if json.Unmarshal(text, &k) != nil || k.KeyID == "" || len(k.KeyID) > maxKid || k.Use != "" && k.Use != "sig" {
		return nil
	}
	algorithm := ""
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits >= 2048 && bits <= 8192 { // a larger key would make each verification slow
			algorithm = "RS256"
		}
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			algorithm = "ES256"
		}
	case ed25519.PublicKey:
		algorithm = "EdDSA"
	}
	named := k.Algorithm
	if named == "Ed25519" { // RFC 9864
		named = "EdDSA"
	}
	if algorithm == "" || named != "" && named != algorithm {
		return nil
	}
	canonical, err := k.MarshalJSON()
	if err != nil {
		return nil
	}
	return &Key{k.KeyID, algorithm, k.Key, string(canonical)}
}
