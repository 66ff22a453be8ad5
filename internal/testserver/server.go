// Package testserver runs the real server for tests: its router on a loopback port, with
// a separate database and a clock that the test advances.
package testserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// Secrets for tests.
const (
	RootSecret   = "a-root-secret-for-tests-of-48-bytes-and-no-more!"
	NextRoot     = "another-root-secret-for-tests-of-many-bytes-long"
	ClientSecret = "a-client-secret-for-tests-of-40-characters"
)

// Clock is a clock that only moves when a test advances it.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock at the real time, truncated to the second.
func NewClock() *Clock { return &Clock{now: time.Now().UTC().Truncate(time.Second)} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance advances the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Options change what New builds; the zero value is fine.
type Options struct {
	DatabaseURL string
	Tenants     []settings.TenantSpec
	Roots       []string      // default RootSecret
	Clock       *Clock        // default a new one
	Tracer      models.Tracer // sees every PostgreSQL statement
	Listener    net.Listener  // default a free port
	Issuer      string        // default http:// and the listener's address
	Proxies     []string      // trusted proxies
	Run         bool          // do the background work of a node
	Admin       bool          // serve the admin API at Server.AdminURL
	AdminLocal  bool          // the admin API rejects foreign host names
	AdminHere   bool          // Server.Handler serves the admin API too

	Wrap func(http.Handler) http.Handler // wraps the server's handler

	IntrospectionMaxAge time.Duration
}

// Server is a running server.
type Server struct {
	URL      string // also the base issuer
	AdminURL string // of the admin API, without its path

	DatabaseURL string

	Handler      http.Handler // for requests without a connection
	AdminHandler http.Handler // the same for the admin API

	Clock *Clock
	Store *models.Store
	OAuth *oauth.Server
	Keys  *keys.Roots
	Log   *Log

	Metrics http.Handler // of the server and of the admin API

	t testing.TB
}

// Log stores every line that the server logs, at every level.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns the whole log.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Take returns the log since the last Take.
func (l *Log) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// New starts a server and stops it with the test. Signing keys are ES256 unless a tenant
// specifies otherwise, because tests generate many.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	ctx := context.Background()
	if o.Clock == nil {
		o.Clock = NewClock()
	}
	if o.Roots == nil {
		o.Roots = []string{RootSecret}
	}
	if o.Listener == nil {
		var err error
		o.Listener, err = net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
	}
	if o.Issuer == "" {
		o.Issuer = "http://" + o.Listener.Addr().String()
	}
	s := &Server{URL: o.Issuer, DatabaseURL: o.DatabaseURL, Clock: o.Clock, Log: &Log{}, t: t}
	log := slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))

	var err error
	s.Keys, err = keys.NewRoots(o.Roots)
	must(t, err)
	s.Store, err = models.Open(ctx, o.DatabaseURL, models.Options{Clock: o.Clock.Now, TrustClock: true, Tracer: o.Tracer, Dial: testdb.Dial, Log: log})
	must(t, err)
	t.Cleanup(func() { s.Store.Close() })
	must(t, s.Store.Migrate(ctx))
	s.OAuth = oauth.New(oauth.Config{
		Issuer: o.Issuer, Store: s.Store, Keys: s.Keys, Log: log, IntrospectionMaxAge: o.IntrospectionMaxAge,
		SigningWait: time.Hour, // do not reject requests of a test on a busy machine
	})
	must(t, s.OAuth.Reseal(ctx))
	s.Apply(o.Tenants...)

	ready := func(ctx context.Context) error {
		if err := s.OAuth.Following(); o.Run && err != nil {
			return err
		}
		return errors.Join(s.Store.Ping(ctx), s.OAuth.SigningReady(ctx))
	}
	metrics := handlers.NewMetrics()
	s.Metrics = metrics.Handler()
	edge := handlers.Config{
		Issuer: o.Issuer, OAuth: s.OAuth, Ready: ready, TrustedProxies: o.Proxies,
		Metrics: metrics, Log: log, AdminLocal: o.AdminLocal,
	}
	service := &admin.Service{Store: s.Store, OAuth: s.OAuth, Keys: s.Keys, BaseURL: o.Issuer, Log: log}
	if o.AdminHere {
		edge.Admin, edge.AdminHere = service, true
	}
	s.Handler, err = handlers.New(edge)
	must(t, err)
	if o.Admin {
		edge.Admin = service
		s.serveAdmin(edge)
	}
	served := s.Handler
	if o.Wrap != nil {
		served = o.Wrap(served)
	}
	server := httptest.NewUnstartedServer(served)
	server.Listener.Close()
	server.Listener = o.Listener
	server.Start()
	t.Cleanup(server.Close)
	if o.Run {
		s.run()
	}
	return s
}

// run starts the background work of a node, and waits until the node has read the event
// log. It ends before the server, which waits for its streams.
func (s *Server) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.OAuth.Run(ctx) })
	s.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	for s.OAuth.Following() != nil {
		time.Sleep(time.Millisecond)
	}
}

// Apply applies tenants without faults to the running server, which sees them at once.
func (s *Server) Apply(tenants ...settings.TenantSpec) {
	s.t.Helper()
	for i := range tenants {
		if tenants[i].SigningAlgorithm == "" {
			tenants[i].SigningAlgorithm = "ES256"
		}
	}
	faults := append(settings.ValidateTenants(tenants, s.URL), oauth.CheckTenants(tenants)...)
	if len(faults) > 0 {
		s.t.Fatal(faults)
	}
	_, err := s.Store.Apply(context.Background(), tenants, s.Keys, models.ApplyOptions{Replace: true})
	must(s.t, err)
	must(s.t, s.OAuth.EnsureSigningKeys(context.Background()))
	must(s.t, s.OAuth.Refresh(context.Background()))
}

// Answer is a response of the server.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	JSON   map[string]any // nil if the body is not a JSON object
}

// Text returns a string member of the response, or "" if it is absent.
func (a *Answer) Text(name string) string {
	s, _ := a.JSON[name].(string)
	return s
}

// Error returns the OAuth error code of the response, or "".
func (a *Answer) Error() string { return a.Text("error") }

// Option changes a request before it is sent.
type Option func(*http.Request)

// Basic authenticates a client (RFC 6749 §2.3.1).
func Basic(id, secret string) Option {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

// Header sets a header.
func Header(name, value string) Option {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// Post sends a form of pairs: name, value, … A name may repeat.
func (s *Server) Post(path string, form []string, opts ...Option) *Answer {
	s.t.Helper()
	var pairs []string
	for i := 0; i+1 < len(form); i += 2 {
		pairs = append(pairs, url.QueryEscape(form[i])+"="+url.QueryEscape(form[i+1]))
	}
	opts = append([]Option{Header("Content-Type", "application/x-www-form-urlencoded")}, opts...)
	return s.Do(http.MethodPost, path, strings.NewReader(strings.Join(pairs, "&")), opts...)
}

// Get sends a GET request.
func (s *Server) Get(path string, opts ...Option) *Answer {
	s.t.Helper()
	return s.Do(http.MethodGet, path, nil, opts...)
}

// Do sends a request. It is safe for concurrent use: if the connection fails, it reports
// an error and returns status 0.
func (s *Server) Do(method, path string, body io.Reader, opts ...Option) *Answer {
	req, err := http.NewRequest(method, s.URL+path, body)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
		return &Answer{}
	}
	for _, o := range opts {
		o(req)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
		return &Answer{}
	}
	defer resp.Body.Close()
	a := &Answer{Status: resp.StatusCode, Header: resp.Header}
	if a.Body, err = io.ReadAll(resp.Body); err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
	}
	if json.Unmarshal(a.Body, &a.JSON) != nil {
		a.JSON = nil
	}
	return a
}

var client = &http.Client{
	Timeout:       30 * time.Second,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 128},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
