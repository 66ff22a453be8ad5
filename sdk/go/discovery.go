package latchkey

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// metadataLife is for how long metadata is used without asking again. An
	// older one serves for as long as the issuer does not answer.
	metadataLife = time.Hour
	// metadataRetry is the least time between two attempts to fetch it.
	metadataRetry = time.Second
	// maxDocument bounds documents that are read whole.
	maxDocument = 1 << 20
	// fetchPatience bounds each fetch of a document, its body included.
	fetchPatience = 5 * time.Second
)

// metadata is what the SDK needs of an issuer's metadata (RFC 8414 §2).
type metadata struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	SigningAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
}

// discovery fetches the metadata of one issuer when it is first needed. It is
// safe for concurrent use; callers who need it at the same moment share one
// fetch.
type discovery struct {
	issuer string
	http   *http.Client
	now    func() time.Time

	mu       sync.Mutex
	known    *metadata
	fetched  time.Time
	tried    time.Time
	problem  error
	fetching chan struct{} // closed when the fetch under way ends; nil: there is none
}

// newDiscovery refuses an issuer that is no https URL (http is for loopback).
func newDiscovery(issuer string, client *http.Client, now func() time.Time) (*discovery, error) {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(issuer, "/"):
		return nil, fmt.Errorf("latchkey: the issuer %q is no base URL", issuer)
	case u.Scheme == "http" && isLoopback(u.Hostname()), u.Scheme == "https":
	default:
		return nil, fmt.Errorf("latchkey: the issuer %q is not https", issuer)
	}
	if client == nil {
		client = &http.Client{}
	}
	plain := *client
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &discovery{issuer: issuer, http: &plain, now: now}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// metadata is what the issuer last said. ErrUnavailable: it never did.
func (d *discovery) metadata(ctx context.Context) (*metadata, error) {
	for {
		d.mu.Lock()
		now := d.now()
		switch {
		case d.known != nil && now.Sub(d.fetched) < metadataLife, d.known != nil && now.Sub(d.tried) < metadataRetry:
			defer d.mu.Unlock()
			return d.known, nil
		case d.problem != nil && now.Sub(d.tried) < metadataRetry && d.fetching == nil:
			defer d.mu.Unlock()
			return nil, d.problem
		}
		if d.fetching == nil {
			d.fetching, d.tried = make(chan struct{}), now
			go d.fetch(context.WithoutCancel(ctx), d.fetching)
		}
		known, done := d.known, d.fetching
		d.mu.Unlock()
		if known != nil {
			return known, nil
		}
		select {
		case <-done:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

func (d *discovery) fetch(ctx context.Context, done chan struct{}) {
	m := &metadata{}
	err := d.document(ctx, d.issuer+"/.well-known/openid-configuration", "application/json", m)
	if err == nil && m.Issuer != d.issuer {
		err = fmt.Errorf("%w: the metadata of %s names another issuer", ErrUnavailable, d.issuer) // RFC 8414 §3.3
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.problem = err; err == nil {
		d.known, d.fetched = m, d.now()
	}
	d.fetching = nil
	close(done)
}

// document fetches JSON. Every failure is ErrUnavailable.
func (d *discovery) document(ctx context.Context, from, accept string, to any) error {
	text, _, err := d.read(ctx, from, accept, maxDocument)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%w: reading %s: %w", ErrUnavailable, from, err)
	}
	return nil
}
