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
	"github.com/ory/fosite/handler/oauth2"

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
	store    *models.Store
	keys     *Keys
	log      *slog.Logger
	registry *registry
	provider *fosite.Fosite
	slots    *slots // for what /token makes
	answers  *slots // for other signatures, which do not wait behind tokens
	throttle *throttle
	tail     *models.Tail
	memory   time.Duration // IntrospectionMaxAge
	streams  streamTable   // of revocations, that are open
	feedsMu  sync.Mutex
	feeds    map[string]*feed // by view
	lists    statusLists
}

// New builds a server. It reads nothing yet.
func New(c Config) *Server {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &Server{
		store: c.Store, keys: c.Keys, log: c.Log,
		slots:    newSlots(4, cmp.Or(c.SigningWait, signingWait), c.Log),
		answers:  newSlots(2, cmp.Or(c.SigningWait, signingWait), c.Log),
		throttle: newThrottle(),
		tail:     models.NewTail(c.Store),
		memory:   c.IntrospectionMaxAge,
		registry: &registry{
			store: c.Store, keys: c.Keys, base: c.Issuer, now: c.Store.Now, log: c.Log,
			sources: newKeySources(c.Store.Now, c.Log), tenants: map[string]*Tenant{}, stale: map[string]bool{},
		},
	}
	if c.FetchProxy != nil {
		s.registry.sources.clients[false] = throughProxy(c.FetchProxy)
	}
	s.provider = &fosite.Fosite{Store: noStore{}, Config: s.fositeConfig()}
	return s
}

// fositeConfig hands fosite our parts. Handlers are asked in this order.
func (s *Server) fositeConfig() *fosite.Config {
	c := &fosite.Config{
		ClientAuthenticationStrategy: s.authenticateClient,
		ScopeStrategy:                fosite.ExactScopeStrategy,
		AudienceMatchingStrategy:     fosite.ExactAudienceMatchingStrategy,
		RevocationHandlers:           fosite.RevocationHandlers{&revocation{s}},
		TokenIntrospectionHandlers:   fosite.TokenIntrospectionHandlers{&introspection{s}},
	}
	credentials := &clientCredentials{s}
	c.TokenEndpointHandlers = fosite.TokenEndpointHandlers{
		grantGate{},
		&tokenExchange{s},
		&refreshGrant{s},
		credentials,
		&oauth2.ClientCredentialsGrantHandler{
			HandleHelper: &oauth2.HandleHelper{AccessTokenStrategy: credentials, AccessTokenStorage: noStore{}, Config: c},
			Config:       c,
		},
	}
	return c
}

// publicPatience is how long what is public may wait for news when there is an
// older version to serve.
const publicPatience = 500 * time.Millisecond

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
	return Load{s.slots.waiting.Load(), s.slots.wait(), s.slots.refusals.Load() + s.answers.refusals.Load()}
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
		ctx, cancel = context.WithTimeout(ctx, publicPatience)
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

	Client    *Client
	Guessed   string // id of the client whose secret was wrong
	Grant     string
	SessionID string
	Outcome   string // "", or the error code that was answered
	Reason    Reason // "", or why it was refused

	// For the log alone.
	Cause              error
	Expected, Received string

	Overload bool    // refused because the server is busy: the log counts such requests elsewhere
	ticket   *ticket // its place among those that come for a signing slot
}

type callKey struct{}

// call is the request that ctx belongs to.
func callFrom(ctx context.Context) *Call { return ctx.Value(callKey{}).(*Call) }

// endpoint serves a form request: parse, then fn; one place answers errors.
func (s *Server) endpoint(w http.ResponseWriter, r *http.Request, call *Call, fn func(ctx context.Context, r *http.Request) error) {
	s.serve(w, r, call, func(ctx context.Context, r *http.Request) error {
		if _, err := parseForm(r); err != nil {
			return err
		}
		return fn(ctx, r)
	})
}

// serve is endpoint for a request without a form.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, call *Call, fn func(ctx context.Context, r *http.Request) error) {
	ctx := context.WithValue(r.Context(), callKey{}, call)
	if err := fn(ctx, r.WithContext(ctx)); err != nil {
		s.writeError(w, call, err)
	}
}

// Token serves {iss}/token (RFC 6749 §3.2).
func (s *Server) Token(w http.ResponseWriter, r *http.Request, call *Call) {
	if err := s.slots.admit(r.Context()); err != nil { // before anything is read, so that a refusal costs next to nothing
		s.writeError(w, call, err)
		return
	}
	s.endpoint(w, r, call, func(ctx context.Context, r *http.Request) (err error) {
		if call.ticket, err = s.slots.take(); err != nil {
			return err
		}
		defer call.ticket.giveBack()
		if call.Grant = r.PostForm.Get("grant_type"); call.Grant == "" {
			return invalidRequest(ReasonParameterMissing, "grant_type is required")
		}
		state := &grantState{call: call}
		request, err := s.provider.NewAccessRequest(ctx, r, state)
		if err != nil {
			return err
		}
		if _, err := s.provider.NewAccessResponse(ctx, request); err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, state.answer)
		return nil
	})
}

// now is store time.
func (s *Server) now() time.Time { return s.store.Now() }

// noStore is the storage that fosite asks for and we do not use: clients come
// from the tenant, tokens are JWTs.
type noStore struct{}

var (
	_ fosite.Storage            = noStore{}
	_ oauth2.AccessTokenStorage = noStore{}
)

// GetClient implements fosite.ClientManager.
func (noStore) GetClient(context.Context, string) (fosite.Client, error) {
	return nil, fosite.ErrNotFound
}

// ClientAssertionJWTValid implements fosite.ClientManager.
func (noStore) ClientAssertionJWTValid(context.Context, string) error { return fosite.ErrNotFound }

// SetClientAssertionJWT implements fosite.ClientManager.
func (noStore) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return fosite.ErrNotFound
}

// CreateAccessTokenSession implements oauth2.AccessTokenStorage.
func (noStore) CreateAccessTokenSession(context.Context, string, fosite.Requester) error { return nil }

// GetAccessTokenSession implements oauth2.AccessTokenStorage.
func (noStore) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, fosite.ErrNotFound
}

// DeleteAccessTokenSession implements oauth2.AccessTokenStorage.
func (noStore) DeleteAccessTokenSession(context.Context, string) error { return nil }
