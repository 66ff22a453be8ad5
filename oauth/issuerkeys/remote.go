package issuerkeys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/oauth/fetch"
)

// How long the keys of trusted issuers are cached (see docs/operations.md).
const (
	maxAge       = 10 * time.Minute // then they are fetched again, so that a removed key is forgotten
	maxStale     = time.Hour        // how long they are used while the issuer is unreachable
	refetchPause = 30 * time.Second // between fetches for an unknown kid (R-JK-13)
	failurePause = 5 * time.Second  // after a failed fetch, while there are no keys at all
)

// remote fetches and caches the key set of an issuer. It does not use
// RemoteKeySet of go-oidc, which keeps a removed key forever, ignores `use` and
// `alg`, and fetches again for every unknown kid
// (docs/decisions/0004-issuer-keys.md).
type remote struct {
	Config
	issuer  string
	jwksURI string // empty: by discovery
	client  *http.Client

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

// Keys implements Source.
func (r *remote) Keys(ctx context.Context, match func(jose.JSONWebKey) bool) ([]jose.JSONWebKey, error) {
	r.mu.Lock()
	now := r.Now()
	age, sinceFailure := now.Sub(r.fetchedAt), now.Sub(r.failedAt)
	failedWithin := func(within time.Duration) bool { return r.failure != nil && 0 <= sinceFailure && sinceFailure < within }
	have := r.set != nil && age < maxStale
	pause := failurePause
	var chosen []jose.JSONWebKey
	if have {
		pause, chosen = refetchPause, Matching(r.set, match)
	}
	switch {
	case len(chosen) > 0 && age < maxAge:
		r.mu.Unlock()
		return chosen, nil
	case len(chosen) > 0 && failedWithin(maxAge): // an outage: fetch in the background
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
	if r.Waiting != nil {
		r.Waiting(ctx)
	}
	select {
	case <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.failure == nil:
		return Matching(r.set, match), nil
	case len(chosen) > 0:
		return chosen, nil
	default:
		return nil, r.lastError()
	}
}

// lastError returns the error of the last fetch. The caller holds r.mu.
func (r *remote) lastError() error {
	if errors.Is(r.failure, ErrMisconfigured) {
		return r.failure
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, r.failure)
}

// startFetch starts a fetch, or joins the current one. The caller holds r.mu.
func (r *remote) startFetch() <-chan struct{} {
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
			r.failedAt = r.Now()
			r.failures++
		} else {
			r.set, r.fetchedAt, r.failedAt = set, r.Now(), time.Time{}
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
func (r *remote) report() {
	var fault *Fault
	switch {
	case r.failure == nil && r.loggedFault != "":
		r.Log.Info("keys of a trusted issuer are available again", "issuer", r.issuer)
		r.loggedFault = ""
	case errors.As(r.failure, &fault) && r.loggedFault != fault.Error():
		r.Log.Warn("a trusted issuer is misconfigured: "+fault.Problem+"; requests with its tokens fail with 500 once the cached keys expire",
			"issuer", r.issuer, "expected", fault.Expected, "received", fault.Received, "advice", fault.Advice)
		r.loggedFault = fault.Error()
	}
}

// fetch fetches the key set, by discovery unless jwks_uri is configured.
func (r *remote) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	uri := r.jwksURI
	if uri == "" {
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, r.client), r.issuer)
		var other *oidc.IssuerMismatchError
		if errors.As(err, &other) {
			return nil, r.mismatch(other.Provided, other.Discovered)
		}
		if err != nil {
			return nil, fmt.Errorf("discovery: %.200s", err.Error()) // it may contain the whole response
		}
		var metadata struct {
			JWKSURI string `json:"jwks_uri"`
		}
		if err := provider.Claims(&metadata); err != nil || metadata.JWKSURI == "" {
			return nil, &Fault{"the discovery document has no jwks_uri", "a URL", "none", "set keys.jwks_uri instead of keys.discovery"}
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
		return nil, &Fault{"the issuer's key set has no usable key", "a public signature key (RSA of 2048 to 8192 bits, P-256 to P-521, Ed25519)", "none",
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
