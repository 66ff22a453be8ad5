package oauth

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/ory/fosite"

	"github.com/latchkey/latchkey/models"
)

// Config is what a Server stands on.
type Config struct {
	Issuer string // base URL, without a path or trailing slash
	Store  *models.Store
	Keys   *Keys
	Log    *slog.Logger // nil means slog.Default

	// FetchProxy is what keys of trusted issuers are fetched through; nil: nothing.
	FetchProxy *url.URL

	// IntrospectionMaxAge lets introspection answer for access tokens from
	// memory while what this node knows of revocations is younger; at most
	// models.TailBound. 0: the database is always read.
	IntrospectionMaxAge time.Duration

	// SigningWait is the longest that a request is expected to wait for its
	// signature; one that would wait longer is refused with 503. 0: a second.
	SigningWait time.Duration
}

// Server is the OAuth server of all tenants of a deployment. It is safe for
// concurrent use; Run keeps its view of the configuration fresh.
type Server struct {
	store               *models.Store
	keys                *Keys
	log                 *slog.Logger
	registry            *registry
	provider            *fosite.Fosite
	tokenSlots          *signLimiter // for what /token makes
	documentSlots       *signLimiter // for other signatures, which do not wait behind tokens
	throttle            *throttle
	tail                *models.Tail
	introspectionMaxAge time.Duration // IntrospectionMaxAge
	streams             streamTable   // of revocations, that are open
	feedsMu             sync.Mutex
	feeds               map[string]*feed // by view
	statusLists         statusLists
}

// New builds a server. It reads nothing yet.
func New(c Config) *Server {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &Server{
		store: c.Store, keys: c.Keys, log: c.Log,
		tokenSlots:          newSignLimiter(4, cmp.Or(c.SigningWait, signingWait), c.Log),
		documentSlots:       newSignLimiter(2, cmp.Or(c.SigningWait, signingWait), c.Log),
		throttle:            newThrottle(),
		tail:                models.NewTail(c.Store),
		introspectionMaxAge: c.IntrospectionMaxAge,
		registry: &registry{
			store: c.Store, keys: c.Keys, base: c.Issuer, now: c.Store.Now, log: c.Log,
			sources: newKeySources(c.Store.Now, c.Log), tenants: map[string]*Tenant{}, stale: map[string]bool{},
		},
	}
	if c.FetchProxy != nil {
		s.registry.sources.clients[false] = newProxyFetcher(c.FetchProxy)
	}
	s.provider = s.newProvider()
	return s
}

// publicTimeout is how long what is public may wait for news when there is an
// older version to serve.
const publicTimeout = 500 * time.Millisecond

// Run follows changes of configuration and revocations until ctx ends, and
// with it every stream of them.
func (s *Server) Run(ctx context.Context) {
	var tailing sync.WaitGroup
	tailing.Go(func() { s.tail.Run(ctx) })
	s.registry.run(ctx)
	tailing.Wait()
}

// Following says why this node does not know what is revoked; nil: it does.
func (s *Server) Following() error {
	_, err := s.tail.Fresh()
	return err
}

// LogAge is how long ago the event log was last read; before the first time,
// very long.
func (s *Server) LogAge() time.Duration {
	asOf, _ := s.tail.Fresh()
	return max(0, s.now().Sub(asOf))
}

// Streams is how many streams of revocations are open.
func (s *Server) Streams() int64 { return int64(s.streams.len()) }

// Load reports how busy the server is with making tokens.
type Load struct {
	Waiting  int64         // requests that wait for a signing slot
	Wait     time.Duration // how long one that came now would wait, estimated
	Refusals uint64        // requests that were refused since the start
}

// Load reports how busy the server is with making tokens.
func (s *Server) Load() Load {
	return Load{s.tokenSlots.waiting.Load(), s.tokenSlots.wait(), s.tokenSlots.refusals.Load() + s.documentSlots.refusals.Load()}
}

// Tenant finds a tenant by id. models.ErrNotFound: there is none;
// models.ErrUnavailable: the database does not answer.
func (s *Server) Tenant(ctx context.Context, id string) (*Tenant, error) {
	return s.registry.tenant(ctx, id)
}

// PublicTenant is Tenant for what anybody may read and should outlive an
// outage of the database: metadata and public keys as last seen.
func (s *Server) PublicTenant(ctx context.Context, id string) (*Tenant, error) {
	last := s.registry.lastKnown(id)
	if last != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, publicTimeout)
		defer cancel()
	}
	t, err := s.registry.tenant(ctx, id)
	if err != nil && !errors.Is(err, models.ErrNotFound) && last != nil {
		return last, nil
	}
	return t, err
}

// LastKnown is the tenant as this node last saw it, or nil.
func (s *Server) LastKnown(id string) *Tenant { return s.registry.lastKnown(id) }

// Refresh looks for changes of configuration now.
func (s *Server) Refresh(ctx context.Context) error { return s.registry.check(ctx) }

// Call is one request: where it comes from, and what becomes known of it for
// the log.
type Call struct {
	Tenant    *Tenant
	IP        string
	UserAgent string
	Origin    string // that the browser sent; empty: none

	Client         *Client
	FailedClientID string // id of the client whose secret was wrong
	Grant          string
	SessionID      string
	Outcome        string // "", or the error code that was answered
	Reason         Reason // "", or why it was refused

	// For the log alone.
	Cause              error
	Expected, Received string

	Overload bool // refused because the server is busy: the log counts such requests elsewhere
}

// endpoint serves a form request: parse, then fn; one place answers errors.
func (s *Server) endpoint(w http.ResponseWriter, r *http.Request, call *Call, fn func(ctx context.Context) error) {
	s.serve(w, r, call, func(ctx context.Context) error {
		if _, err := parseForm(r); err != nil {
			return err
		}
		return fn(ctx)
	})
}

// serve is endpoint for a request without a form.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, call *Call, fn func(ctx context.Context) error) {
	if err := fn(r.Context()); err != nil {
		s.writeError(w, call, err)
	}
}

// Token serves {iss}/token (RFC 6749 §3.2).
func (s *Server) Token(w http.ResponseWriter, r *http.Request, call *Call) {
	if err := s.tokenSlots.admit(r.Context()); err != nil { // before anything is read, so that a refusal costs next to nothing
		s.writeError(w, call, err)
		return
	}
	s.endpoint(w, r, call, func(ctx context.Context) error {
		place, err := s.tokenSlots.reserve()
		if err != nil {
			return err
		}
		defer place.release()
		if call.Grant = r.PostForm.Get("grant_type"); call.Grant == "" {
			return invalidRequest(ReasonParameterMissing, "grant_type is required")
		}
		answer, err := s.answerTokenRequest(withTicket(ctx, place), r, call)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, answer)
		return nil
	})
}

// now is store time.
func (s *Server) now() time.Time { return s.store.Now() }
