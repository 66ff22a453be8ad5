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
	// metadataLife is for how long metadata is used without asking again. An
	// older one serves for as long as the issuer does not answer.
	metadataLife = time.Hour
	// metadataRetry is the least time between two attempts to fetch it.
	metadataRetry = time.Second
)

// Metadata is what the SDK needs of an issuer's metadata (RFC 8414 §2).
type Metadata struct {
	Issuer                string `json:"issuer"`
	TokenEndpoint         string `json:"token_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
}

// Issuer fetches the metadata of one issuer when it is first needed. It is
// safe for concurrent use; callers who need it at the same moment share one
// fetch.
type Issuer struct {
	URL        string
	HTTPClient *http.Client // follows no redirect
	Now        func() time.Time

	mu        sync.Mutex
	metadata  *Metadata
	fetchedAt time.Time
	triedAt   time.Time
	err       error
	fetching  chan struct{} // closed when the fetch under way ends; nil: there is none
}

// NewIssuer refuses an issuer that is no https URL (http is for loopback).
func NewIssuer(issuer string, client *http.Client, now func() time.Time) (*Issuer, error) {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(issuer, "/"):
		return nil, fmt.Errorf("latchkey: the issuer %q is no base URL", issuer)
	case !IsSecure(u):
		return nil, fmt.Errorf("latchkey: the issuer %q is not https", issuer)
	}
	return &Issuer{URL: issuer, HTTPClient: NoRedirects(client), Now: now}, nil
}

// IsSecure reports whether a URL is https, or http to loopback.
func IsSecure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && IsLoopback(u.Hostname())
}

// IsLoopback reports whether a host is this machine.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Metadata is what the issuer last said. ErrUnavailable: it never did.
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
		err = fmt.Errorf("%w: the metadata of %s names another issuer", ErrUnavailable, i.URL) // RFC 8414 §3.3
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err = err; err == nil {
		i.metadata, i.fetchedAt = m, i.Now()
	}
	i.fetching = nil
	close(done)
}

// CheckEndpoint refuses a URL of the metadata that is less safe than the issuer's.
func (i *Issuer) CheckEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || !IsSecure(u) {
		return fmt.Errorf("%w: the metadata of %s has no usable URL for what is needed", ErrUnavailable, i.URL)
	}
	return nil
}
