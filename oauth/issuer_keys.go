package oauth

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
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/oauth/fetch"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/settings"
)

// How long the keys of trusted issuers are cached (see docs/operations.md).
const (
	keysMaxAge    = 10 * time.Minute // then they are fetched again, so that a removed key is forgotten
	keysMaxStale  = time.Hour        // how long they are used while the issuer is unreachable
	refetchPause  = 30 * time.Second // between fetches for an unknown kid (R-JK-13)
	failurePause  = 5 * time.Second  // after a failed fetch, while there are no keys at all
	maxIssuerKeys = 100
)

// ErrIssuerUnavailable means that an issuer's keys cannot be fetched at the
// moment. The fault is temporary and does not mean that the token is invalid.
var ErrIssuerUnavailable = errors.New("the issuer's keys cannot be fetched")

// keySource returns those keys of an issuer for which match returns true.
type keySource interface {
	keys(ctx context.Context, match func(jose.JSONWebKey) bool) ([]jose.JSONWebKey, error)
}

// staticKeys are keys in the configuration.
type staticKeys []jose.JSONWebKey

// keys implements keySource.
func (s staticKeys) keys(_ context.Context, match func(jose.JSONWebKey) bool) ([]jose.JSONWebKey, error) {
	return matchingKeys(s, match), nil
}

// matchingKeys returns the keys for which match returns true.
func matchingKeys(set []jose.JSONWebKey, match func(jose.JSONWebKey) bool) []jose.JSONWebKey {
	var chosen []jose.JSONWebKey
	for _, k := range set {
		if match(k) {
			chosen = append(chosen, k)
		}
	}
	return chosen
}

// parseStaticKeys parses the inline keys of an issuer entry. It returns nil if
// the entry has none.
func parseStaticKeys(k settings.IssuerKeys) (staticKeys, error) {
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
	if len(raw.Keys) > maxIssuerKeys {
		return nil, fmt.Errorf("more than %d keys", maxIssuerKeys)
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

// supportAny reports whether any of the keys may verify tokens of any of the
// algorithms.
func (k staticKeys) supportAny(algorithms []string) bool {
	return slices.ContainsFunc(k, func(key jose.JSONWebKey) bool {
		return slices.ContainsFunc(algorithms, func(alg string) bool { return supportsAlgorithm(key, alg) })
	})
}

// supportsAlgorithm reports whether a key may verify tokens of alg. Its type
// must match and, if the key has an alg, that too (draft rfc8725bis §3.1).
func supportsAlgorithm(k jose.JSONWebKey, alg string) bool {
	if k.Algorithm != "" && algorithmName(k.Algorithm) != alg {
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

// remoteKeys fetches and caches the key set of an issuer. It does not use
// RemoteKeySet of go-oidc, which keeps a removed key forever, ignores `use` and
// `alg`, and fetches again for every unknown kid
// (docs/decisions/0004-issuer-keys.md).
type remoteKeys struct {
	issuer  string
	jwksURI string // empty: by discovery
	client  *http.Client
	now     func() time.Time
	log     *slog.Logger

	mu          sync.Mutex
	set         []jose.JSONWebKey
	fetchedAt   time.Time
	failedAt    time.Time
	failure     error
	loggedFault string // the misconfiguration that was logged last
	fetches     uint64 // since the start, including failed ones
	failures    uint64
	inflight    chan struct{} // closed when the current fetch ends; nil: there is none
}

// keys implements keySource.
func (r *remoteKeys) keys(ctx context.Context, match func(jose.JSONWebKey) bool) ([]jose.JSONWebKey, error) {
	r.mu.Lock()
	now := r.now()
	age, sinceFailure := now.Sub(r.fetchedAt), now.Sub(r.failedAt)
	failedWithin := func(within time.Duration) bool { return r.failure != nil && 0 <= sinceFailure && sinceFailure < within }
	have := r.set != nil && age < keysMaxStale
	pause := failurePause
	var chosen []jose.JSONWebKey
	if have {
		pause, chosen = refetchPause, matchingKeys(r.set, match)
	}
	switch {
	case len(chosen) > 0 && age < keysMaxAge:
		r.mu.Unlock()
		return chosen, nil
	case len(chosen) > 0 && failedWithin(keysMaxAge): // an outage: fetch in the background
		if !failedWithin(pause) {
			r.startFetch()
		}
		r.mu.Unlock()
		return chosen, nil
	case have && age < refetchPause:
		r.mu.Unlock()
		return nil, nil
	case failedWithin(pause): // the key may be newer than the last good fetch
		err := r.lastError()
		r.mu.Unlock()
		return nil, err
	}
	done := r.startFetch()
	r.mu.Unlock()
	returnTicket(ctx) // waiting for an issuer does not make this server busier
	select {
	case <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.failure == nil:
		return matchingKeys(r.set, match), nil
	case len(chosen) > 0:
		return chosen, nil
	default:
		return nil, r.lastError()
	}
}

// lastError returns the error of the last fetch. The caller holds r.mu.
func (r *remoteKeys) lastError() error {
	if errors.Is(r.failure, ErrIssuerMisconfigured) {
		return r.failure
	}
	return fmt.Errorf("%w: %w", ErrIssuerUnavailable, r.failure)
}

// startFetch starts a fetch, or joins the current one. The caller holds r.mu.
func (r *remoteKeys) startFetch() <-chan struct{} {
	if r.inflight != nil {
		return r.inflight
	}
	done := make(chan struct{})
	r.inflight = done
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*fetch.DefaultTimeout)
		defer cancel()
		set, err := r.fetch(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fetches++
		if r.failure = err; err != nil {
			r.failedAt = r.now()
			r.failures++
		} else {
			r.set, r.fetchedAt, r.failedAt = set, r.now(), time.Time{}
		}
		r.report()
		r.inflight = nil
		close(done)
	}()
	return done
}

// report logs a misconfiguration once, however many tokens arrive. It logs
// again only when the misconfiguration changes or returns. The caller holds
// r.mu.
func (r *remoteKeys) report() {
	var fault *issuerFault
	switch {
	case r.failure == nil && r.loggedFault != "":
		r.log.Info("keys of a trusted issuer are available again", "issuer", r.issuer)
		r.loggedFault = ""
	case errors.As(r.failure, &fault) && r.loggedFault != fault.Error():
		r.log.Warn("a trusted issuer is misconfigured: "+fault.problem+"; requests with its tokens fail with 500 once the cached keys expire",
			"issuer", r.issuer, "expected", fault.expected, "received", fault.received, "advice", fault.advice)
		r.loggedFault = fault.Error()
	}
}

// fetch fetches the key set, by discovery unless jwks_uri is configured.
func (r *remoteKeys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	uri := r.jwksURI
	if uri == "" {
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, r.client), r.issuer)
		var other *oidc.IssuerMismatchError
		if errors.As(err, &other) {
			return nil, issuerMismatchFault(other.Provided, other.Discovered)
		}
		if err != nil {
			return nil, fmt.Errorf("discovery: %.200s", err.Error()) // it may contain the whole response
		}
		var metadata struct {
			JWKSURI string `json:"jwks_uri"`
		}
		if err := provider.Claims(&metadata); err != nil || metadata.JWKSURI == "" {
			return nil, &issuerFault{"the discovery document has no jwks_uri", "a URL", "none", "set keys.jwks_uri instead of keys.discovery"}
		}
		uri = metadata.JWKSURI
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("jwks_uri returned status %s", resp.Status)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	keys, err := parseJWKS(text)
	if errors.Is(err, errNoUsableKey) {
		return nil, &issuerFault{"the issuer's key set has no usable key", "a public signature key (RSA of 2048 to 8192 bits, P-256 to P-521, Ed25519)", "none",
			"contact the operator of the issuer, or configure its keys another way"}
	}
	return keys, err
}

// withoutURL returns the error of a request without its URL, because the query
// of a jwks_uri may contain a secret.
func withoutURL(err error) error {
	if of := new(url.Error); errors.As(err, &of) {
		return of.Err
	}
	return err
}
