package issuerkeys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
		status := &statusOf{next: r.client.Transport}
		client := *r.client
		client.Transport = status
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, &client), r.issuer)
		var other *oidc.IssuerMismatchError
		if errors.As(err, &other) {
			return nil, r.mismatch(other.Provided, other.Discovered)
		}
		if err != nil {
			return nil, status.describe(err)
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
		return nil, errors.New(fetch.Describe(err, "issuer"))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("jwks_uri returned status %d", resp.StatusCode)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, errors.New(fetch.Describe(err, "issuer"))
	}
	keys, err := parseJWKS(text)
	if errors.Is(err, errNoUsableKey) {
		return nil, &Fault{"the issuer's key set has no usable key", "a public signature key (RSA of 2048 to 8192 bits, P-256 to P-521, Ed25519)", "none",
			"contact the operator of the issuer, or configure its keys another way"}
	}
	return keys, err
}

// statusOf is a transport that keeps the status of the last response.
type statusOf struct {
	next http.RoundTripper
	code int   // 0: there was no response
	err  error // of the request
}

// RoundTrip implements http.RoundTripper.
func (s *statusOf) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if s.code, s.err = 0, err; err == nil {
		s.code = resp.StatusCode
	}
	return resp, err
}

// describe returns why there is no discovery document, without err, which may quote the
// whole response.
func (s *statusOf) describe(err error) error {
	switch {
	case s.code == 0 && s.err != nil:
		return errors.New("discovery: " + fetch.Describe(s.err, "issuer"))
	case s.code == 0 || errors.Is(err, fetch.ErrNotAllowed):
		return errors.New("discovery: " + fetch.Describe(err, "issuer"))
	case s.code != http.StatusOK:
		return fmt.Errorf("discovery returned status %d", s.code)
	}
	return errors.New("discovery returned no valid document")
}
