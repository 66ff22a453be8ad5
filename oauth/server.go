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
	"github.com/latchkey/latchkey/models/tail"
	"github.com/latchkey/latchkey/oauth/delivery"
	"github.com/latchkey/latchkey/oauth/keys"
)

// Config configures a Server.
type Config struct {
	Issuer string // base URL, without a path or trailing slash
	Store  *models.Store
	Keys   *keys.Roots
	Log    *slog.Logger // nil means slog.Default

	// FetchProxy is the proxy through which keys of trusted issuers are
	// fetched. Nil means none.
	FetchProxy *url.URL

	// IntrospectionMaxAge allows introspection to answer for access tokens from
	// memory, as long as what this node knows about revocations is not older.
	// It is at most settings.RevocationBound. Zero means that introspection always
	// reads the database.
	IntrospectionMaxAge time.Duration

	// SigningWait is the longest time that a request may be expected to wait
	// for its signature. A request that would wait longer is rejected with 503.
	// Zero means one second.
	SigningWait time.Duration
}

// Server is the OAuth server of all tenants of a deployment. It is safe for
// concurrent use. Run keeps its view of the configuration up to date.
type Server struct {
	store               *models.Store
	keys                *keys.Roots
	log                 *slog.Logger
	registry            *registry
	provider            *fosite.Fosite
	tokenSlots          *signLimiter // for signatures of /token
	documentSlots       *signLimiter // for other signatures, so that they do not wait behind tokens
	throttle            *throttle
	tail                *tail.Tail
	introspectionMaxAge time.Duration // IntrospectionMaxAge
	streams             streamTable   // open streams of revocations
	feedsMu             sync.Mutex
	feeds               map[string]*feed // by view
	statusLists         statusLists
	delivery            *delivery.Deliverer
	notices             *notices
	polls               streamTable // waiting polls for security events
	verifications       verificationLimit
}

// New returns a server. It does not access the database yet.
func New(c Config) *Server {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &Server{
		store: c.Store, keys: c.Keys, log: c.Log,
		tokenSlots:          newSignLimiter(4, cmp.Or(c.SigningWait, signingWait), c.Log),
		documentSlots:       newSignLimiter(2, cmp.Or(c.SigningWait, signingWait), c.Log),
		throttle:            newThrottle(),
		notices:             newNotices(),
		tail:                tail.New(c.Store, c.Log),
		introspectionMaxAge: c.IntrospectionMaxAge,
		registry: &registry{
			store: c.Store, keys: c.Keys, base: c.Issuer, now: c.Store.Now, log: c.Log,
			sources: newSources(c.Store.Now, c.Log, c.FetchProxy), tenants: map[string]*Tenant{}, stale: map[string]bool{},
		},
	}
	s.provider = s.newProvider()
	s.delivery = delivery.New(delivery.Options{
		Store: c.Store, Log: c.Log, Proxy: c.FetchProxy,
		Open: c.Keys.OpenDestinationSecret, Sign: s.SignSecurityEvent, Issuer: s.IssuerOf,
	})
	return s
}

// publicTimeout bounds how long a request for a public document waits for the
// current version if there is an older one to serve.
const publicTimeout = 500 * time.Millisecond

// Run follows changes of the configuration and revocations, and delivers events while
// no other node does, until ctx ends. All streams of revocations and waiting polls end
// with it.
func (s *Server) Run(ctx context.Context) {
	var tailing sync.WaitGroup
	tailing.Go(func() { s.tail.Run(ctx) })
	tailing.Go(func() { s.delivery.Run(ctx) })
	tailing.Go(func() { s.writeNotices(ctx) })
	tailing.Go(func() { <-ctx.Done(); s.polls.endAll(errStopping) })
	s.registry.run(ctx)
	tailing.Wait()
}

// Following returns nil if this node knows what has been revoked, and otherwise
// why it does not.
func (s *Server) Following() error {
	_, err := s.tail.Fresh()
	return err
}

// LogAge returns how long ago the event log was last read. Before the first
// time it returns a very long time.
func (s *Server) LogAge() time.Duration {
	asOf, _ := s.tail.Fresh()
	return max(0, s.now().Sub(asOf))
}

// Deliverer returns what delivers events to event destinations.
func (s *Server) Deliverer() *delivery.Deliverer { return s.delivery }

// Streams returns the number of open streams of revocations.
func (s *Server) Streams() int64 { return int64(s.streams.len()) }

// Load describes how busy the server is with signing tokens.
type Load struct {
	Waiting  int64         // number of requests that wait for a signing slot
	Wait     time.Duration // estimate of how long a new request would wait
	Refusals uint64        // number of requests that were rejected since the start
}

// Load returns how busy the server is with signing tokens.
func (s *Server) Load() Load {
	return Load{s.tokenSlots.waiting.Load(), s.tokenSlots.wait(), s.tokenSlots.refusals.Load() + s.documentSlots.refusals.Load()}
}

// Tenant returns the tenant with the given id. The error is models.ErrNotFound
// if there is none, and models.ErrUnavailable if the database does not respond.
func (s *Server) Tenant(ctx context.Context, id string) (*Tenant, error) {
	return s.registry.tenant(ctx, id)
}

// PublicTenant is like Tenant, but returns the tenant as last loaded if the
// database does not respond in time. It is for documents that anybody may read
// and that should outlive an outage of the database: metadata and public keys.
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

// LastKnown returns the tenant as this node last loaded it, or nil.
func (s *Server) LastKnown(id string) *Tenant { return s.registry.lastKnown(id) }

// Refresh checks for changes of the configuration now.
func (s *Server) Refresh(ctx context.Context) error { return s.registry.check(ctx) }

// Call is one request: where it comes from, and what the log records about it.
type Call struct {
	Tenant    *Tenant
	IP        string
	UserAgent string
	Origin    string // the Origin header; empty: none

	Client         *Client
	FailedClientID string // id of the client whose secret was wrong
	Grant          string
	SessionID      string
	Outcome        string // error code of the response; empty: success
	Reason         Reason // why the request was refused; empty: success
	Retry          string // of a refresh that repeated an answer: retried or retried_late

	checks *recorder // of an exchange of a client token; nil: it was not reached

	// For the log only.
	Cause              error
	Expected, Received string

	Overload bool // refused because the server is busy; the log counts such requests elsewhere
}

// endpoint serves a form request: it parses the form, calls fn, and sends the
// error of either.
func (s *Server) endpoint(w http.ResponseWriter, r *http.Request, call *Call, fn func(ctx context.Context) error) {
	s.serve(w, r, call, func(ctx context.Context) error {
		if _, err := parseForm(r); err != nil {
			return err
		}
		return fn(ctx)
	})
}

// serve is like endpoint, for a request without a form.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, call *Call, fn func(ctx context.Context) error) {
	if err := fn(r.Context()); err != nil {
		s.writeError(w, call, err)
	}
}

// Token serves {iss}/token (RFC 6749 §3.2).
func (s *Server) Token(w http.ResponseWriter, r *http.Request, call *Call) {
	if err := s.tokenSlots.admit(r.Context()); err != nil { // before anything is read, so that a refusal costs almost nothing
		s.writeError(w, call, err)
		return
	}
	s.endpoint(w, r, call, func(ctx context.Context) error {
		ticket, err := s.tokenSlots.reserve()
		if err != nil {
			return err
		}
		defer ticket.release()
		if call.Grant = r.PostForm.Get("grant_type"); call.Grant == "" {
			return invalidRequest(ReasonParameterMissing, "grant_type is required")
		}
		answer, err := s.answerTokenRequest(withTicket(ctx, ticket), r, call)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, answer)
		return nil
	})
}

// now returns the time of the store.
func (s *Server) now() time.Time { return s.store.Now() }
