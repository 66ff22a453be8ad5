// Package bff is a back end for front ends: it keeps the tokens of a session on
// the server and gives the browser a cookie with an opaque handle, which is worth
// nothing anywhere else.
//
// [BFF.SignIn], [BFF.StepUp] and [BFF.SignOut] set the cookie, [BFF.Protect]
// guards handlers of the app against requests that other sites forge, and
// [BFF.Proxy] forwards requests to the app's APIs with the access token of the
// session.
package bff

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// ErrNoSession is wrapped by errors that mean that a request comes with no
// session: the user has to sign in.
var ErrNoSession = errors.New("no session")

// Options configure a [BFF]. Only Client is required.
type Options struct {
	// Client makes and refreshes the sessions.
	Client *latchkey.Client
	// Store keeps the sessions; default [NewMemoryStore] for 10,000, which is for
	// one process that may forget its users when it restarts.
	Store Store
	// CookieKeys keep the sessions in the cookies themselves, encrypted, for an app
	// that has no place for a [Store] and must not sign its users out when it
	// restarts. The first key encrypts; the others open cookies from before a change
	// of keys. Each has 32 random bytes. Handlers that use the session must be
	// wrapped by [BFF.Protect], which renews the cookie after a refresh. A cookie
	// that was copied stays usable until the session ends at the server.
	CookieKeys [][]byte
	// Upstreams say what [BFF.Proxy] forwards, and to where, by path prefixes with a
	// slash at both ends, such as "/api/". The longest that fits counts, and is
	// taken off: what follows it is added to the upstream's URL. Nothing else is
	// ever forwarded.
	Upstreams map[string]Upstream
	// Transport carries requests to the upstreams; default http.DefaultTransport.
	Transport http.RoundTripper
	// CookieName begins with "__Host-"; default "__Host-session".
	CookieName string
	// TrustedOrigins are other origins whose pages may send requests that change
	// something, such as "https://admin.example.com".
	TrustedOrigins []string
	// Loopback is for development on http://localhost, where not every browser
	// keeps cookies that are Secure or begin with "__Host-": the cookie is neither.
	// Requests for any other host are refused then.
	Loopback bool
	// Logger gets a line about each session that was signed out here and not
	// revoked; default slog.Default().
	Logger *slog.Logger
	// Now is the clock of cookies and of the default store; default time.Now.
	Now func() time.Time
}

// BFF is a back end for front ends. It is safe for concurrent use.
type BFF struct {
	client    *latchkey.Client
	store     Store
	sealer    *sealer // nil: cookies hold handles
	sessions  sessionCache
	upstreams []upstream
	transport http.RoundTripper
	cookie    string
	origins   *http.CrossOriginProtection
	loopback  bool
	log       *slog.Logger
	now       func() time.Time

	ctx             context.Context // of revocations; ends with Close
	stop            context.CancelFunc
	revoking        sync.WaitGroup
	revocationSlots chan struct{} // one place for each that may be under way
	signOutTimeout  time.Duration // signOutPatience
	revokePause     time.Duration // revokePause
}

const defaultCookie = "__Host-session"

// New makes a BFF. It refuses options under which cookies or tokens would reach
// somebody else.
func New(o Options) (*BFF, error) {
	b := &BFF{
		client: o.Client, store: o.Store, transport: o.Transport, cookie: o.CookieName, loopback: o.Loopback, log: o.Logger, now: o.Now,
		sessions: sessionCache{byKey: map[string]*cachedSession{}}, origins: http.NewCrossOriginProtection(), revocationSlots: make(chan struct{}, maxRevocations), signOutTimeout: signOutTimeout, revokePause: revokePause,
	}
	if b.client == nil {
		return nil, errors.New("bff: a client is missing")
	}
	if len(o.CookieKeys) > 0 && b.store != nil {
		return nil, errors.New("bff: set Store or CookieKeys, not both")
	}
	b.setDefaults()
	if name, ok := strings.CutPrefix(b.cookie, "__Host-"); !ok || name == "" || len(b.cookie) > 64 || (&http.Cookie{Name: b.cookie}).Valid() != nil {
		return nil, fmt.Errorf("bff: the cookie name %q is none that begins with __Host-", b.cookie)
	} else if b.loopback {
		b.cookie = name
	}
	if len(o.CookieKeys) > 0 {
		s, err := newSealer(o.CookieKeys, b.cookie)
		if err != nil {
			return nil, err
		}
		b.sealer, b.store = s, cookieStore{NewMemoryStore(maxCachedSessions, b.now)}
	}
	for _, origin := range o.TrustedOrigins {
		if err := b.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("bff: the trusted origin %q: %w", origin, err)
		}
	}
	var err error
	if b.upstreams, err = parseUpstreams(o.Upstreams); err != nil {
		return nil, err
	}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b, nil
}

func (b *BFF) setDefaults() {
	if b.now == nil {
		b.now = time.Now
	}
	if b.store == nil {
		b.store = NewMemoryStore(10_000, b.now)
	}
	if b.transport == nil {
		b.transport = http.DefaultTransport
	}
	if b.cookie == "" {
		b.cookie = defaultCookie
	}
	if b.log == nil {
		b.log = slog.Default()
	}
}

// Close gives up revocations that wait for the server, and returns when none is
// under way.
func (b *BFF) Close() {
	b.stop()
	b.revoking.Wait()
}
