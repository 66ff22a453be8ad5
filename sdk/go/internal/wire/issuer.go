package wire

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// metadataLife is how long metadata is used before it is fetched again.
	// Older metadata stays in use while the issuer is unreachable.
	metadataLife = time.Hour
	// metadataRetry is the least time between two attempts to fetch metadata.
	metadataRetry = time.Second
)

// Metadata holds the members of an issuer's metadata that the SDK uses (RFC
// 8414 §2).
type Metadata struct {
	Issuer                string `json:"issuer"`
	TokenEndpoint         string `json:"token_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
}

// Issuer fetches the metadata of one issuer when it is first needed. It is safe
// for concurrent use; concurrent callers share one fetch.
type Issuer struct {
	URL        string
	HTTPClient *http.Client // does not follow redirects
	Now        func() time.Time

	mu        sync.Mutex
	metadata  *Metadata
	fetchedAt time.Time
	triedAt   time.Time
	err       error
	fetching  chan struct{} // closed when the current fetch ends; nil: none is in progress
}

// NewIssuer returns the issuer at a base URL. It rejects URLs that are not
// https (or http on loopback), end with a slash, or have a query.
func NewIssuer(issuer string, client *http.Client, now func() time.Time) (*Issuer, error) {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(issuer, "/"):
		return nil, fmt.Errorf("latchkey: invalid issuer %q: expected a base URL without user, query, fragment or final slash, such as \"https://id.example.com\"", issuer)
	case !IsSecure(u):
		return nil, fmt.Errorf("latchkey: invalid issuer %q: expected https (http is allowed on loopback only)", issuer)
	}
	return &Issuer{URL: issuer, HTTPClient: NoRedirects(client), Now: now}, nil
}

// IsSecure reports whether a URL is https, or http on loopback.
func IsSecure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && IsLoopback(u.Hostname())
}

// IsLoopback reports whether a host name or address is this machine's loopback.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Metadata returns the most recent metadata of the issuer. The error wraps
// ErrUnavailable: no metadata could be fetched yet.
func (i *Issuer) Metadata(ctx context.Context) (*Metadata, error) {
	for {
		i.mu.Lock()
		now := i.Now()
		switch {
		case i.metadata != nil && now.Sub(i.fetchedAt) < metadataLife, i.metadata != nil && now.Sub(i.triedAt) < metadataRetry:
			defer i.mu.Unlock()
			return i.metadata, nil
		case i.err != nil && now.Sub(i.triedAt) < metadataRetry && i.fetching == nil:
			defer i.mu.Unlock()
			return nil, i.err
		}
		if i.fetching == nil {
			i.fetching, i.triedAt = make(chan struct{}), now
			go i.fetch(context.WithoutCancel(ctx), i.fetching)
		}
		known, done := i.metadata, i.fetching
		i.mu.Unlock()
		if known != nil {
			return known, nil
		}
		select {
		case <-done:
		case <-ctx.Done():
			return nil, Unavailable(ctx.Err())
		}
	}
}

func (i *Issuer) fetch(ctx context.Context, done chan struct{}) {
	m := &Metadata{}
	err := GetJSON(ctx, i.HTTPClient, i.URL+"/.well-known/openid-configuration", m)
	if err == nil && m.Issuer != i.URL {
		err = fmt.Errorf("%w: the metadata of %s has issuer %q; expected the URL that the SDK was configured with", ErrUnavailable, i.URL, m.Issuer) // RFC 8414 §3.3
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err = err; err == nil {
		i.metadata, i.fetchedAt = m, i.Now()
	}
	i.fetching = nil
	close(done)
}

// CheckEndpoint rejects an endpoint URL from the metadata that is missing or
// less secure than the issuer's URL. name is its member of the metadata.
func (i *Issuer) CheckEndpoint(name, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || !IsSecure(u) {
		return fmt.Errorf("%w: the metadata of %s has an invalid %s %q: expected an https URL", ErrUnavailable, i.URL, name, text)
	}
	return nil
}
