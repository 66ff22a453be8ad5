// Package latchkeytest has an issuer of access tokens for the tests of resource
// servers and apps. It runs in the test's own process, without a database, and
// does what its test tells it: sign good and bad tokens, revoke them, change its
// keys, be away.
package latchkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// What an issuer's tokens and options say unless a test says otherwise.
const (
	Audience     = "https://api.example.com"
	Subject      = "alice"
	ClientID     = "web"
	ResourceID   = "api" // the client that stands for the resource server
	ResourceKey  = "a-client-secret-for-tests-of-40-characters"
	AccessLife   = 5 * time.Minute
	keySetMaxAge = "public, max-age=300"
)

// Issuer is an issuer in the test's own process. It is safe for concurrent use.
type Issuer struct {
	URL string // of the issuer: what its tokens say as `iss`

	t   testing.TB
	mux *http.ServeMux // below URL

	mu     sync.Mutex
	offset time.Duration // of its clock
	down   bool
	keys   []signingKey // published; the last one signs
	made   int
}

// signingKey is a key of the issuer.
type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
}

// New starts an issuer with one ES256 key, and stops it with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t, mux: http.NewServeMux()}
	i.RotateKey()
	i.mux.HandleFunc("GET /.well-known/openid-configuration", i.metadata)
	i.mux.HandleFunc("GET /.well-known/jwks.json", i.keySet)
	server := httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	down := i.down
	i.mu.Unlock()
	if down {
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"error": "temporarily_unavailable"})
		return
	}
	i.mux.ServeHTTP(w, r)
}

// Now is the issuer's clock: the real one, moved by Advance.
func (i *Issuer) Now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return time.Now().Add(i.offset)
}

// Advance moves the issuer's clock, and that of verifiers with its Options.
func (i *Issuer) Advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.offset += d
}

// SetDown lets the issuer answer every request with 503, or no longer.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Options are those of a verifier that may ask the issuer everything, and whose
// clock is the issuer's. It logs nothing.
func (i *Issuer) Options() latchkey.VerifierOptions {
	return latchkey.VerifierOptions{ClientID: ResourceID, ClientSecret: ResourceKey, Now: i.Now, Logger: slog.New(slog.DiscardHandler)}
}

// RotateKey makes a key that signs from now on. The older ones stay published.
func (i *Issuer) RotateKey() {
	i.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	i.keys = append(i.keys, signingKey{fmt.Sprintf("key-%d", i.made), private})
}

// RemoveOldKeys publishes only the key that signs: tokens of the others are
// refused when a verifier has fetched the key set again.
func (i *Issuer) RemoveOldKeys() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// key is the one that signs.
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

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
