// Package issuerkeys finds the public keys that verify the tokens of a trusted
// issuer: keys in the configuration, and key sets that it fetches and caches.
package issuerkeys

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/oauth/fetch"
	"github.com/latchkey/latchkey/settings"
)

// Source returns those keys of an issuer for which match returns true.
type Source interface {
	Keys(ctx context.Context, match func(jose.JSONWebKey) bool) ([]jose.JSONWebKey, error)
}

// Config is what a [Sources] needs. Now and Log are required.
type Config struct {
	Now func() time.Time
	Log *slog.Logger
	// Proxy is the proxy for fetches, if any. It is not used for entries that
	// allow private addresses.
	Proxy *url.URL
	// ForLog makes a value that an issuer sent fit for the log.
	ForLog func(string) string
	// Waiting is called with the context of a request that begins to wait for
	// an issuer.
	Waiting func(context.Context)
}

// Sources keeps the keys that were fetched from issuers when the configuration
// changes. Its methods may be called concurrently.
type Sources struct {
	config Config

	mu      sync.Mutex
	remote  map[string]*remote
	clients map[bool]*http.Client // by whether private addresses are allowed
}

// New returns a Sources without keys.
func New(c Config) *Sources {
	return &Sources{
		config: c, remote: map[string]*remote{},
		clients: map[bool]*http.Client{
			false: fetch.New(fetch.Options{Proxy: c.Proxy}),
			true:  fetch.New(fetch.Options{AllowPrivate: true}),
		},
	}
}

// Source returns the key source of an entry. Entries with the same issuer and
// address share one.
func (s *Sources) Source(settings settings.IssuerSettings) (Source, error) {
	static, err := Parse(settings.Keys)
	if err != nil || static != nil {
		return static, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fmt.Sprintf("%s %s %t", settings.Issuer, settings.Keys.JWKSURI, settings.AllowPrivateAddresses)
	if s.remote[name] == nil {
		s.remote[name] = &remote{
			Config: s.config, issuer: settings.Issuer, jwksURI: settings.Keys.JWKSURI,
			client: s.clients[settings.AllowPrivateAddresses],
		}
	}
	return s.remote[name], nil
}

// Fetches counts the fetches of an issuer's keys since this node started.
type Fetches struct {
	Issuer       string
	Good, Failed uint64
	Age          time.Duration // of the cached keys; negative: there are none
}

// Fetches reports on every issuer whose keys were fetched, or whose fetches
// failed. Entries with the same issuer but different addresses of its keys are
// combined: their fetches are added, and Age is that of the oldest keys.
func (s *Sources) Fetches() []Fetches {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := map[string]*Fetches{}
	for _, r := range s.remote {
		r.mu.Lock()
		if r.fetches > 0 {
			if by[r.issuer] == nil {
				by[r.issuer] = &Fetches{Issuer: r.issuer, Age: -1}
			}
			of := by[r.issuer]
			of.Good, of.Failed = of.Good+r.fetches-r.failures, of.Failed+r.failures
			if r.set != nil {
				of.Age = max(of.Age, r.Now().Sub(r.fetchedAt), 0)
			}
		}
		r.mu.Unlock()
	}
	var list []Fetches
	for _, of := range by {
		list = append(list, *of)
	}
	return list
}
