// Package latchkeytest provides an issuer for the tests of apps and resource
// servers. It runs in the test's own process and needs no database.
//
//	issuer := latchkeytest.New(t)
//	client, err := latchkey.NewClient(issuer.URL, latchkeytest.ClientID, latchkey.ClientOptions{Now: issuer.Now})
//	verifier, err := resource.NewVerifier(issuer.URL, latchkeytest.Audience, issuer.VerifierOptions())
//
// Make tokens with [Issuer.Token], [Issuer.ExpiredToken] and
// [Issuer.ForgedToken], and client tokens for sign-ins with
// [Issuer.ClientToken]. [Issuer.Advance] moves the clock;
// [Issuer.RevokeSession], [Issuer.RotateKey] and [Issuer.SetDown] cause what
// your code must handle.
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

// The defaults of an issuer's tokens and options.
const (
	Audience             = "https://api.example.com"
	Subject              = "alice"
	ClientID             = "web"
	ResourceClientID     = "api" // the client of the resource server, and its secret
	ResourceClientSecret = "a-client-secret-for-tests-of-40-characters"
	AccessTokenLifetime  = 5 * time.Minute
	keySetMaxAge         = "public, max-age=300"
)

// Issuer is an issuer in the test's own process. It is safe for concurrent use.
type Issuer struct {
	URL string // the `iss` of its tokens

	t      failer
	mux    *http.ServeMux // below URL
	server *httptest.Server

	mu     sync.Mutex
	offset time.Duration // of its clock
	down   bool
	keys   []signingKey // published; the last one signs
	made   int

	revoked     []entry
	changed     chan struct{} // closed when streams have to look for changes
	cuts        int
	silent      bool
	statusIndex map[string]int // by session
	requests    map[string]int // by path

	clientTokens map[string]Claims // not used yet
	usedTokens   map[string]bool   // client tokens
	sessions     []*appSession
}

// New starts an issuer with one ES256 key. It is closed when the test ends.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := start(t)
	t.Cleanup(i.Close)
	return i
}

// Start is New for programs without a test, such as examples. It panics where
// New would fail the test. Call [Issuer.Close] when done.
func Start() *Issuer { return start(noTest{}) }

// failer is the part of testing.TB that the issuer uses.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// noTest is a failer for programs without a test.
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
	i.SetDown(true) // ends the streams, which the server would wait for
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

// Now returns the issuer's time: the real time, moved by Advance.
func (i *Issuer) Now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.clock()
}

// clock is Now for callers that hold i.mu.
func (i *Issuer) clock() time.Time { return time.Now().Add(i.offset) }

// Advance moves the issuer's clock, and the clock of verifiers with its
// VerifierOptions.
func (i *Issuer) Advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.offset += d
	i.wakeStreams()
}

// RequestCount returns the number of requests for a path below the issuer.
func (i *Issuer) RequestCount(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests[path]
}

// SetDown makes the issuer answer every request with 503 and ends its streams,
// until it is called with false.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
	i.cuts++
	i.wakeStreams()
}

// VerifierOptions returns options for a verifier with the issuer's clock and
// credentials for every kind of revocation check. The verifier logs nothing.
func (i *Issuer) VerifierOptions() resource.VerifierOptions {
	return resource.VerifierOptions{ClientID: ResourceClientID, ClientSecret: ResourceClientSecret, Now: i.Now, Logger: slog.New(slog.DiscardHandler)}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
