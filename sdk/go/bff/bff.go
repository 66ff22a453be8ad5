// Package bff implements a back end for front ends: it keeps the tokens of a
// session on the server, and gives the browser a cookie with an opaque handle.
//
//	app, err := bff.New(bff.Options{Client: client, Upstreams: map[string]bff.Upstream{
//		"/api/": {URL: "https://api.example.com/", Target: latchkey.Target{Audience: []string{"https://api.example.com"}}},
//	}})
//	mux.Handle("/api/", app.Proxy())
//	http.ListenAndServeTLS(":8443", cert, key, app.Protect(mux))
//
// [BFF.SignIn], [BFF.StepUp] and [BFF.SignOut] set the cookie. [BFF.Protect]
// rejects requests that other sites forge. [BFF.Proxy] forwards requests to the
// app's APIs with an access token of the session.
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

// ErrNoSession is wrapped by errors that mean that a request has no session:
// the user must sign in.
var ErrNoSession = errors.New("no session")

// Options configure a [BFF]. Only Client is required.
type Options struct {
	// Client creates and refreshes the sessions.
	Client *latchkey.Client
	// Store keeps the sessions. Default: [NewMemoryStore] for 10,000 sessions,
	// which signs all users out when the process restarts and serves one
	// process only.
	Store Store
	// CookieKeys keep the sessions in the cookies themselves, encrypted, for an
	// app that has no [Store] and must not sign its users out when it restarts.
	// Each key has 32 random bytes. The first encrypts; the others decrypt
	// cookies from before a change of keys.
	//
	// Handlers that use the session must be wrapped by [BFF.Protect], which
	// renews the cookie after a refresh. A copied cookie stays usable until the
	// session ends at the server.
	CookieKeys [][]byte
	// Upstreams maps path prefixes, with a slash at both ends such as "/api/",
	// to the APIs that [BFF.Proxy] forwards to. The longest matching prefix is
	// used. It is removed, and the rest of the path is appended to the
	// upstream's URL. Other paths are not forwarded.
	Upstreams map[string]Upstream
	// Transport sends requests to the upstreams. Default:
	// http.DefaultTransport.
	Transport http.RoundTripper
	// CookieName must begin with "__Host-". Default: "__Host-session".
	CookieName string
	// TrustedOrigins are other origins whose pages may send requests that
	// change something, such as "https://admin.example.com".
	TrustedOrigins []string
	// Loopback is for development on http://localhost, where not every browser
	// keeps cookies that are Secure or begin with "__Host-": the cookie is
	// neither. Requests for other hosts are rejected.
	Loopback bool
	// Logger receives errors, such as a session that was signed out here but
	// could not be revoked. Default: slog.Default().
	Logger *slog.Logger
	// Now is the clock for cookies and for the default store. Default:
	// time.Now.
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
	revocationSlots chan struct{} // one slot per revocation in progress
	signOutTimeout  time.Duration // signOutPatience
	revokePause     time.Duration // revokePause
}

const defaultCookie = "__Host-session"

// New returns a BFF. It rejects options with which cookies or tokens would
// reach someone else.
func New(o Options) (*BFF, error) {
	b := &BFF{
		client: o.Client, store: o.Store, transport: o.Transport, cookie: o.CookieName, loopback: o.Loopback, log: o.Logger, now: o.Now,
		sessions: sessionCache{byKey: map[string]*cachedSession{}}, origins: http.NewCrossOriginProtection(), revocationSlots: make(chan struct{}, maxRevocations), signOutTimeout: signOutTimeout, revokePause: revokePause,
	}
	if b.client == nil {
		return nil, errors.New("bff: Client is required")
	}
	if len(o.CookieKeys) > 0 && b.store != nil {
		return nil, errors.New("bff: Store and CookieKeys exclude each other: set one of them")
	}
	b.setDefaults()
	if name, ok := strings.CutPrefix(b.cookie, "__Host-"); !ok || name == "" || len(b.cookie) > 64 || (&http.Cookie{Name: b.cookie}).Valid() != nil {
		return nil, fmt.Errorf("bff: invalid CookieName %q: expected __Host- and a name, at most 64 characters", b.cookie)
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
			return nil, fmt.Errorf("bff: invalid TrustedOrigins %q: %w", origin, err)
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

// Close abandons revocations that wait for the server, and returns when none is
// in progress.
func (b *BFF) Close() {
	b.stop()
	b.revoking.Wait()
}
