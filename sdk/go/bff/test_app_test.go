package bff_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// testApp is a server-rendered app with an API behind it, and a browser.
type testApp struct {
	*bff.BFF
	URL     string
	issuer  *latchkeytest.Issuer
	api     *api
	browser *http.Client
	posts   atomic.Int64                                                // to the issuer
	fault   atomic.Pointer[func(*http.Request) (*http.Response, error)] // handles POSTs to the issuer; nil: no fault
	wanted  latchkey.CreateParams
	client  *latchkey.Client
	t       *testing.T
}

// api is a resource server that records its requests.
type api struct {
	URL string

	mu      sync.Mutex
	asked   []*http.Request
	answer  func(w http.ResponseWriter)
	seen    map[string]bool
	refuses func(token string) bool
}

const invalidToken = `Bearer error="invalid_token"`

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r)
	token := r.Header.Get("Authorization")
	a.seen[token] = true
	if a.refuses != nil && a.refuses(token) {
		w.Header().Set("WWW-Authenticate", invalidToken)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if a.answer != nil {
		a.answer(w)
	}
}

// take returns the requests since the last call.
func (a *api) take() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.asked = nil }()
	return a.asked
}

func newTestApp(t *testing.T, change ...func(*bff.Options)) *testApp {
	t.Helper()
	return newTestAppWithRetryWindow(t, 6*time.Second, change...) // 2 s for each attempt, on a busy machine
}

// newTestAppWithRetryWindow returns an app whose client has the given
// RetryWindow.
func newTestAppWithRetryWindow(t *testing.T, window time.Duration, change ...func(*bff.Options)) *testApp {
	t.Helper()
	w := &testApp{issuer: latchkeytest.New(t), api: &api{seen: map[string]bool{}}, t: t}
	upstream := httptest.NewServer(w.api)
	t.Cleanup(upstream.Close)
	w.api.URL = upstream.URL
	client, err := latchkey.NewClient(w.issuer.URL, "web", latchkey.ClientOptions{
		HTTPClient: &http.Client{Transport: w}, RetryWindow: window, Now: w.issuer.Now,
	})
	must(t, err)
	w.client = client
	o := bff.Options{Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: upstream.URL + "/v1/"}, "/api/files/": {URL: upstream.URL + "/files/"}}, Now: w.issuer.Now, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	w.BFF, err = bff.New(o)
	must(t, err)
	t.Cleanup(w.Close)
	w.ShortenTimeouts(100 * time.Millisecond)
	w.serve(client, o.Loopback)
	return w
}

func (w *testApp) serve(client *latchkey.Client, plain bool) {
	mux := http.NewServeMux()
	mux.Handle("/api/", w.Proxy())
	mux.Handle("/auth/", http.StripPrefix("/auth", w.Endpoints(latchkey.CreateParams{Audience: []string{"web", "https://api.example.com"}})))
	mux.HandleFunc("POST /sign-in", func(rw http.ResponseWriter, r *http.Request) {
		s, err := client.CreateSession(r.Context(), r.PostFormValue("client_token"), w.wanted)
		if err == nil {
			err = w.SignIn(rw, r, s)
		}
		report(rw, err)
	})
	mux.HandleFunc("POST /step-up", func(rw http.ResponseWriter, r *http.Request) {
		s, err := w.StepUp(rw, r, r.PostFormValue("client_token"), latchkey.StepUpParams{})
		if err == nil {
			err = client.RefreshSession(r.Context(), s) // with the stored tokens
		}
		report(rw, err)
	})
	mux.HandleFunc("POST /sign-out", func(rw http.ResponseWriter, r *http.Request) { report(rw, w.SignOut(rw, r)) })
	mux.HandleFunc("GET /me", func(rw http.ResponseWriter, r *http.Request) {
		s, err := w.Session(r)
		if err == nil {
			io.WriteString(rw, s.ID()+" "+w.CSRFToken(r))
			return
		}
		report(rw, err)
	})
	mux.HandleFunc("POST /change", func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewUnstartedServer(w.Protect(mux))
	if plain {
		server.Start()
	} else {
		server.StartTLS()
	}
	w.t.Cleanup(server.Close)
	w.URL, w.browser = server.URL, server.Client()
	w.browser.Jar, _ = cookiejar.New(nil)
}

// report responds with the text of an error.
func report(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
	}
}

// RoundTrip counts the requests to the issuer.
func (w *testApp) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		w.posts.Add(1)
		if fault := w.fault.Load(); fault != nil {
			return (*fault)(r)
		}
	}
	return http.DefaultTransport.RoundTrip(r)
}

// answer is a response to the browser.
type answer struct {
	*http.Response
	text string
}

// send sends a request like a page of the app. The headers, as names and
// values, override the defaults.
func (w *testApp) send(method, path string, form url.Values, header ...string) answer {
	w.t.Helper()
	return w.sendText(method, path, form.Encode(), header...)
}

// sendText is send with any body.
func (w *testApp) sendText(method, path, body string, header ...string) answer {
	w.t.Helper()
	r, err := http.NewRequest(method, w.URL+path, strings.NewReader(body))
	must(w.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set(bff.CSRFHeader, "1")
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header.Del(header[i]); header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	a, err := w.browser.Do(r)
	must(w.t, err)
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	must(w.t, err)
	return answer{a, string(text)}
}

// get sends a GET with the browser's cookies.
func (w *testApp) get(path string, header ...string) answer {
	w.t.Helper()
	return w.send(http.MethodGet, path, nil, header...)
}

// signIn signs in and returns the cookie.
func (w *testApp) signIn() *http.Cookie {
	w.t.Helper()
	return w.cookie(w.send(http.MethodPost, "/sign-in", url.Values{"client_token": {w.issuer.ClientToken("alice")}}))
}

// cookie returns the cookie that a response sets.
func (w *testApp) cookie(a answer) *http.Cookie {
	w.t.Helper()
	if a.StatusCode != http.StatusOK || len(a.Cookies()) != 1 {
		w.t.Fatalf("answered %d %s %v", a.StatusCode, a.text, a.Cookies())
	}
	return a.Cookies()[0]
}

// session returns the id of the browser's session, or an empty string.
func (w *testApp) session() string {
	w.t.Helper()
	a := w.get("/me")
	if a.StatusCode != http.StatusOK {
		return ""
	}
	return strings.Fields(a.text)[0]
}

// useCookie puts an earlier cookie into the browser.
func (w *testApp) useCookie(c *http.Cookie) {
	u, _ := url.Parse(w.URL)
	w.browser.Jar, _ = cookiejar.New(nil)
	w.browser.Jar.SetCookies(u, []*http.Cookie{c})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
