package bff_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// narrow gives each upstream a target of its own.
func narrow(o *bff.Options) {
	for prefix, audience := range map[string]string{"/api/": "orders", "/api/files/": "files"} {
		up := o.Upstreams[prefix]
		up.Target.Audience = []string{audience}
		o.Upstreams[prefix] = up
	}
}

var everywhere = latchkey.CreateParams{Audience: []string{"web", "orders", "files"}}

// claims are those of the token that the API was last sent.
func (w *testApp) claims() (c struct {
	Aud any
	ACR string
}) {
	w.t.Helper()
	asked := w.api.take()
	if len(asked) == 0 {
		w.t.Fatal("the API was not asked")
	}
	parts := strings.Split(asked[len(asked)-1].Header.Get("Authorization"), ".")
	if len(parts) != 3 {
		w.t.Fatal("it was sent no token")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(w.t, err)
	must(w.t, json.Unmarshal(text, &c))
	return c
}

func TestEachUpstreamGetsATokenForItselfAlone(t *testing.T) {
	t.Parallel()
	w := newTestApp(t, narrow)
	w.wanted = everywhere
	w.signIn()
	for range 2 {
		before := w.posts.Load()
		for range 3 {
			for path, audience := range map[string]string{"/api/orders": "orders", "/api/files/a": "files"} {
				if a := w.get(path); a.StatusCode != http.StatusOK {
					t.Fatalf("%s: %d %s", path, a.StatusCode, a.text)
				}
				if got := w.claims().Aud; got != audience {
					t.Errorf("%s was sent a token for %v", path, got)
				}
			}
		}
		if n := w.posts.Load() - before; n != 2 {
			t.Errorf("%d requests to the issuer", n)
		}
		w.issuer.Advance(time.Hour)
	}
}

func TestAnUpstreamThatTheSessionIsNotFor(t *testing.T) {
	t.Parallel()
	w := newTestApp(t, narrow)
	w.signIn()
	if a := w.get("/api/orders"); a.StatusCode != http.StatusBadGateway || len(w.api.take()) != 0 || len(a.Cookies()) != 0 {
		t.Errorf("answered %d %s", a.StatusCode, a.text)
	}
	if w.session() == "" {
		t.Error("signed out")
	}
}

// moving is a store that runs a function before a session moves.
type moving struct {
	bff.Store
	before func()
	loaded chan struct{} // receives a value, if there is room, when a session was loaded
}

func (m moving) Load(ctx context.Context, key string) (latchkey.Tokens, error) {
	t, err := m.Store.Load(ctx, key)
	select {
	case m.loaded <- struct{}{}:
	default:
	}
	return t, err
}

func (m moving) Move(ctx context.Context, from, to string) error {
	m.before()
	return m.Store.Move(ctx, from, to)
}

// A step-up outdates the tokens for upstreams. A request that the page
// sent before the response refreshes one while the session gets its new cookie.
func TestARefreshBesideAStepUpIsKept(t *testing.T) {
	t.Parallel()
	var w *testApp
	old := make(chan answer, 1)
	w = newTestAppWithRetryWindow(t, time.Minute, narrow, func(o *bff.Options) {
		loaded := make(chan struct{}, 1)
		o.Store = moving{bff.NewMemoryStore(10, nil), func() {
			before := w.issuer.RequestCount("/token")
			select {
			case <-loaded: // from an earlier request
			default:
			}
			go func() { old <- w.get("/api/orders") }()
			<-loaded // the request has found the session under its old cookie
			for end := time.Now().Add(200 * time.Millisecond); w.issuer.RequestCount("/token") == before && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // the request may wait for the move instead
			}
		}, loaded}
	})
	w.wanted = everywhere
	w.signIn()
	w.get("/api/orders")
	otp := w.issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"otp"}})
	w.cookie(w.send(http.MethodPost, "/step-up", url.Values{"client_token": {otp}}))
	if a := <-old; a.StatusCode != http.StatusOK {
		t.Errorf("beside the step-up: %d %s", a.StatusCode, a.text)
	}
	if got := w.claims(); got.Aud != "orders" || got.ACR != "urn:latchkey:acr:2" {
		t.Errorf("sent %v", got)
	}
	w.issuer.Advance(time.Hour)
	if a := w.get("/api/orders"); a.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %d %s", a.StatusCode, a.text)
	}
}

func TestPlainHTTPMustBeAllowedExplicitly(t *testing.T) {
	t.Parallel()
	reached := make(chan string, 1)
	w := newTestApp(t, func(o *bff.Options) {
		o.Upstreams = map[string]bff.Upstream{"/api/": {URL: "http://orders.internal:8080/v1/", PlainHTTP: true}}
		o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			reached <- r.URL.String()
			return &http.Response{StatusCode: 204, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})
	})
	w.signIn()
	if a := w.get("/api/orders"); a.StatusCode != 204 {
		t.Fatalf("answered %d %s", a.StatusCode, a.text)
	}
	if got := <-reached; got != "http://orders.internal:8080/v1/orders" {
		t.Errorf("asked %s", got)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
