package latchkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// signingKey is a key of the issuer.
type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
}

// RotateKey makes a new key that signs from now on. The older keys stay
// published.
func (i *Issuer) RotateKey() {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	i.keys = append(i.keys, signingKey{fmt.Sprintf("key-%d", i.made), private})
}

// RemoveOldKeys publishes only the key that signs. A verifier rejects tokens of
// the other keys once it has fetched the key set again.
func (i *Issuer) RemoveOldKeys() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// key returns the key that signs.
func (i *Issuer) key() signingKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

func (i *Issuer) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/.well-known/jwks.json", "token_endpoint": i.URL + "/token",
		"revocation_endpoint": i.URL + "/revoke", "introspection_endpoint": i.URL + "/introspect", "userinfo_endpoint": i.URL + "/userinfo",
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
	})
}

func (i *Issuer) keySet(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	var set jose.JSONWebKeySet
	for _, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: "ES256", Use: "sig"})
	}
	i.mu.Unlock()
	w.Header().Set("Cache-Control", keySetMaxAge)
	writeJSON(w, http.StatusOK, set)
}
