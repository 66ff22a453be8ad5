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

// maxKeys bounds the keys of a set.
const maxKeys = 100

// Key is a public key of the issuer. Two of the same address are
// the same key, over as many fetches as the issuer publishes it.
type Key struct {
	KeyID     string
	algorithm string
	public    any
	text      string // as JSON, to recognize it
}

// KeySet is what the issuer published, by kid.
type KeySet map[string]*Key

// ReuseFrom lets keys that were known before stay what they are.
func (s KeySet) ReuseFrom(before KeySet) {
	for kid, k := range s {
		if known := before[kid]; known != nil && known.text == k.text {
			s[kid] = known
		}
	}
}

// ParseKeySet keeps the public signature keys that tokens can be verified with;
// others may stand beside them (RFC 7517 §5).
func ParseKeySet(text []byte) (KeySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is no JSON Web Key Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	keys := KeySet{}
	for _, text := range set.Keys {
		k := parseKey(text)
		if k == nil {
			continue
		}
		if keys[k.KeyID] != nil {
			return nil, errors.New("two keys have the same kid")
		}
		keys[k.KeyID] = k
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no usable key")
	}
	return keys, nil
}

// parseKey reads a key that one algorithm can be verified with; nil: it is none.
func parseKey(text []byte) *Key {
	var k jose.JSONWebKey
	if json.Unmarshal(text, &k) != nil || k.KeyID == "" || len(k.KeyID) > maxKid || k.Use != "" && k.Use != "sig" {
		return nil
	}
	algorithm := ""
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits >= 2048 && bits <= 8192 { // a huge one makes each verification a long one
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
