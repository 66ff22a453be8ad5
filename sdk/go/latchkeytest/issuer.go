// Package latchkeytest has an issuer of access tokens for the tests of resource
// servers and apps. It runs in the test's own process, without a database, and
// does what its test tells it: sign good and bad tokens, revoke them, change its
// keys, be away.
package latchkeytest

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/sdk/go/resource"
)

// What an issuer's tokens and options say unless a test says otherwise.
const (
	Audience             = "https://api.example.com"
	Subject              = "alice"
	ClientID             = "web"
	ResourceClientID     = "api" // the client that stands for the resource server, and its secret
	ResourceClientSecret = "a-client-secret-for-tests-of-40-characters"
	AccessTokenLifetime  = 5 * time.Minute
	keySetMaxAge         = "public, max-age=300"
)

// Issuer is an issuer in the test's own process. It is safe for concurrent use.
type Issuer struct {
	URL string // of the issuer: what its tokens say as `iss`

	t      failer
	mux    *http.ServeMux // below URL
	server *httptest.Server

	mu     sync.Mutex
	offset time.Duration // of its clock
	down   bool
	keys   []signingKey // published; the last one signs
	made   int

	revoked     []entry
	changed     chan struct{} // closed when the streams have something to do
	cuts        int
	silent      bool
	statusIndex map[string]int // by session
	requests    map[string]int // by path

	clientTokens map[string]Claims // not used yet
	usedTokens   map[string]bool   // client tokens
	sessions     []*appSession
}

// New starts an issuer with one ES256 key, and stops it with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := start(t)
	t.Cleanup(i.Close)
	return i
}

// Start is New where there is no test, in an example or a program to try things
// with. What would fail a test panics. The issuer must be closed.
func Start() *Issuer { return start(noTest{}) }

// failer is what the issuer needs of a test.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// noTest is a failer where there is no test.
type noTest struct{}

// Helper implements failer.
func (noTest) Helper() {}

// Fatal implements failer.
func (noTest) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func start(t failer) *Issuer {
	i := &Issuer{t: t, mux: http.NewServeMux(), changed: make(chan struct{}), statusIndex: map[string]int{}, requests: map[string]int{}, clientTokens: map[string]Claims{}, usedTokens: map[string]bool{}}
	i.RotateKey()
	i.mux.HandleFunc("GET /.well-known/openid-configuration", i.metadata)
	i.mux.HandleFunc("GET /.well-known/jwks.json", i.keySet)
	i.mux.HandleFunc("GET /revocations", i.revocations)
	i.mux.HandleFunc("POST /introspect", i.introspect)
	i.mux.HandleFunc("GET "+statusPath, i.statusList)
	i.serveApps()
	i.server = httptest.NewServer(http.HandlerFunc(i.serve))
	i.URL = i.server.URL
	return i
}

// Close stops the issuer.
func (i *Issuer) Close() {
	i.SetDown(true) // a server that closes waits for its streams
	i.server.Close()
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.requests[r.URL.Path]++
	down := i.down
	i.mu.Unlock()
	if down {
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"error": "temporarily_unavailable"})
		return
	}
	i.mux.ServeHTTP(w, r)
}

// Now is the issuer's clock: the real one, moved by Advance.
func (i *Issuer) Now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.clock()
}

// clock is Now for who holds i.mu.
func (i *Issuer) clock() time.Time { return time.Now().Add(i.offset) }

// Advance moves the issuer's clock, and that of verifiers with its Options.
func (i *Issuer) Advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.offset += d
	i.wakeStreams()
}

// RequestCount is how often a path below the issuer was asked for.
func (i *Issuer) RequestCount(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests[path]
}

// SetDown lets the issuer answer every request with 503 and ends its streams, or
// no longer.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
	i.cuts++
	i.wakeStreams()
}

// VerifierOptions are those of a verifier that may ask the issuer everything, and whose
// clock is the issuer's. It logs nothing.
func (i *Issuer) VerifierOptions() resource.VerifierOptions {
	return resource.VerifierOptions{ClientID: ResourceClientID, ClientSecret: ResourceClientSecret, Now: i.Now, Logger: slog.New(slog.DiscardHandler)}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
