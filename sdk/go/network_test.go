package latchkey_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// app is an app of a test issuer, over a network with faults.
type app struct {
	*latchkey.Client
	issuer  *latchkeytest.Issuer
	network *network
	t       *testing.T
}

func newApp(t *testing.T, change ...func(*latchkey.ClientOptions)) *app {
	t.Helper()
	a := &app{issuer: latchkeytest.New(t), network: &network{}, t: t}
	a.Client = a.client(change...)
	return a
}

// client returns another client of the app, as in another process.
func (a *app) client(change ...func(*latchkey.ClientOptions)) *latchkey.Client {
	a.t.Helper()
	o := latchkey.ClientOptions{HTTPClient: &http.Client{Transport: a.network}, Now: a.issuer.Now}
	for _, c := range change {
		c(&o)
	}
	c, err := latchkey.NewClient(a.issuer.URL, latchkeytest.ClientID, o)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func shortRetryWindow(o *latchkey.ClientOptions) { o.RetryWindow = 1500 * time.Millisecond }
func confidential(o *latchkey.ClientOptions)     { o.ClientSecret = "secret" }

// signIn creates a session and discards the requests.
func (a *app) signIn() *latchkey.Session {
	a.t.Helper()
	return a.signInFor(latchkey.CreateParams{})
}

// signInFor creates a session with parameters and discards the requests.
func (a *app) signInFor(p latchkey.CreateParams) *latchkey.Session {
	a.t.Helper()
	s, err := a.CreateSession(a.t.Context(), a.issuer.ClientToken("alice"), p)
	if err != nil {
		a.t.Fatal(err)
	}
	a.network.take()
	return s
}

// requireUsable requires that a session can still be refreshed.
func (a *app) requireUsable(s *latchkey.Session) {
	a.t.Helper()
	a.network.fail()
	if err := a.RefreshSession(a.t.Context(), s); err != nil || !a.issuer.SessionActive(s.ID()) {
		a.t.Fatalf("the session is not alive: %v", err)
	}
}

// network carries requests. A test can plan faults for the next POSTs.
type network struct {
	mu     sync.Mutex
	plan   []fault
	always fault
	sent   []url.Values
}

// fault replaces the response to a request.
type fault func(r *http.Request) (*http.Response, error)

// fail plans faults for the next requests, in order, and none afterwards.
func (n *network) fail(faults ...fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.plan, n.always = faults, nil
}

// failAlways plans the same fault for every request.
func (n *network) failAlways(f fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.plan, n.always = nil, f
}

// take returns the forms that were posted since the last call.
func (n *network) take() []url.Values {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer func() { n.sent = nil }()
	return n.sent
}

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		text, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(text))
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(strings.NewReader(string(text)))
		if f := n.next(form); f != nil {
			return f(r)
		}
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (n *network) next(form url.Values) fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = append(n.sent, form)
	if len(n.plan) == 0 {
		return n.always
	}
	f := n.plan[0]
	n.plan = n.plan[1:]
	return f
}

var errNetwork = errors.New("connection reset by peer")

// dropRequest: the request does not arrive.
func dropRequest(*http.Request) (*http.Response, error) { return nil, errNetwork }

// loseResponse: the request is carried out, and its response is lost.
func loseResponse(r *http.Request) (*http.Response, error) {
	if answer, err := http.DefaultTransport.RoundTrip(r); err == nil {
		answer.Body.Close()
	}
	return nil, errNetwork
}

// neverRespond: the request is carried out, and nothing arrives until the
// caller gives up.
func neverRespond(r *http.Request) (*http.Response, error) {
	if answer, err := http.DefaultTransport.RoundTrip(r); err == nil {
		answer.Body.Close()
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// truncateResponse: the connection breaks in the middle of the response.
func truncateResponse(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	half := io.LimitReader(answer.Body, 20)
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(half, broken{}), answer.Body}
	return answer, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// respondAsHTML: the server's response arrives with another content type.
func respondAsHTML(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		answer.Header.Set("Content-Type", htmlType)
	}
	return answer, err
}

// respondWith: something on the way responds, and the server does not see the
// request.
func respondWith(status int, contentType, body string, header ...string) fault {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

const (
	jsonType = "application/json"
	htmlType = "text/html; charset=utf-8"
)
