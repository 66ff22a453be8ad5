package bff_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
)

func TestAnUpstreamSpeaksForItsOwnOriginOnly(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.signIn()
	taken := map[string]string{
		"Strict-Transport-Security": "max-age=0", "Alt-Svc": `h2="evil:443"`, "Nel": "{}", "Report-To": "{}", "Reporting-Endpoints": `x="https://evil"`,
		"Service-Worker-Allowed": "/", "Set-Cookie": "__Host-session=evil; Path=/; Secure", "Access-Control-Allow-Origin": "*",
	}
	w.api.answer = func(rw http.ResponseWriter) {
		for name, value := range taken {
			rw.Header().Set(name, value)
		}
		rw.Header()["Www-Authenticate"] = []string{`Basic realm="password"`, `Bearer error="invalid_token"`}
		rw.Header().Set("Trailer", "Set-Cookie")
		rw.WriteHeader(401)
	}
	a := w.get("/api/x")
	for name := range taken {
		if a.Header.Get(name) != "" {
			t.Errorf("%s passes", name)
		}
	}
	if got := a.Header.Values("WWW-Authenticate"); len(got) != 1 || !strings.HasPrefix(got[0], "Bearer") {
		t.Errorf("the challenges are %q", got)
	}
}

func TestAResponseForOneUserIsNotCached(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.signIn()
	for said, want := range map[string]string{
		"":                                      "no-store",
		"public, max-age=600":                   "no-store",
		`public, max-age=600, private="x-user"`: "no-store",
		`public, s-maxage=600, ext="no-store"`:  "no-store",
		"public, max-age=600, x-private":        "no-store",
		`public, ext="a,no-store,b"`:            "no-store",
		`max-age=600, ext="a, private"`:         "no-store",
		`private, ext="unfinished`:              "no-store",
		"private, s-maxage=600":                 "no-store",
		"private, public":                       "no-store",
		"private; max-age=600":                  "no-store",
		"no-store=x":                            "no-store",
		"Private, max-age=600":                  "Private, max-age=600",
		`private, ext="a\", public"`:            `private, ext="a\", public"`,
		"max-age=600,no-store":                  "max-age=600,no-store",
		" , private ,, max-age=1":               ", private ,, max-age=1",
	} {
		w.api.answer = func(rw http.ResponseWriter) { rw.Header().Set("Cache-Control", said) }
		if got := w.get("/api/x").Header.Get("Cache-Control"); got != want {
			t.Errorf("%s becomes %s", said, got)
		}
	}
}

// Their headers are not filtered.
func TestNoInformationalResponsePasses(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.api.answer = func(rw http.ResponseWriter) {
		rw.Header().Set("Set-Cookie", "__Host-session=evil; Path=/; Secure")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Del("Set-Cookie")
		rw.WriteHeader(http.StatusTeapot)
	}
	w.signIn()
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		t.Errorf("%d passes with %v", code, h)
		return nil
	}}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", w.URL+"/api/x", nil)
	must(t, err)
	r.Header.Set(bff.CSRFHeader, "1")
	a, err := w.browser.Do(r)
	must(t, err)
	a.Body.Close()
	if a.StatusCode != http.StatusTeapot {
		t.Errorf("answered %d", a.StatusCode)
	}
}

// Paths and tokens cannot be checked in another protocol.
func TestNoRequestUpgradesTheProtocol(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	asked := make(chan http.Header, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		asked <- r.Header
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
	}()
	w := newTestApp(t, func(o *bff.Options) {
		o.Upstreams = map[string]bff.Upstream{"/api/": {URL: "http://" + l.Addr().String() + "/v1/"}}
	})
	w.signIn()
	r, err := http.NewRequest("GET", w.URL+"/api/x", nil)
	must(t, err)
	for name, value := range map[string]string{
		bff.CSRFHeader: "1", "Connection": "Upgrade", "Upgrade": "h2c", "X-Forwarded-User": "root", "X-Original-Url": "/admin", "X-Real-Ip": "9.9.9.9", "X-Http-Method-Override": "DELETE",
	} {
		r.Header.Set(name, value)
	}
	a, err := w.browser.Do(r)
	must(t, err)
	a.Body.Close()
	got := <-asked
	for _, name := range []string{"Upgrade", "X-Forwarded-User", "X-Original-Url", "X-Real-Ip", "X-Http-Method-Override", "Cookie", bff.CSRFHeader} {
		if got.Get(name) != "" {
			t.Errorf("the upstream receives %s: %s", name, got.Get(name))
		}
	}
	if a.StatusCode != http.StatusBadGateway {
		t.Errorf("an upstream that switches all the same is answered %d", a.StatusCode)
	}
}

// heldStore delays one Load, before or after it reads.
type heldStore struct {
	bff.Store
	mu            sync.Mutex
	skip          int  // number of calls that are not delayed
	late          bool // delay after reading
	armed         bool
	reached, move chan struct{}
}

func (h *heldStore) Load(ctx context.Context, key string) (latchkey.Tokens, error) {
	h.mu.Lock()
	held := h.armed && h.skip == 0
	if h.skip--; held {
		h.armed = false
	}
	h.mu.Unlock()
	if held && !h.late {
		close(h.reached)
		<-h.move
	}
	t, err := h.Store.Load(ctx, key)
	if held && h.late {
		close(h.reached)
		<-h.move
	}
	return t, err
}

// A request with the old cookie is in progress while the browser gets a new
// one; its response arrives last.
func TestALateResponseDeletesNoCookie(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		skip   int
		late   bool
		change func(*testing.T, *testApp)
	}{
		"a sign-in": {1, false, func(_ *testing.T, w *testApp) { w.signIn() }},
		"a step-up": {0, true, func(t *testing.T, w *testApp) {
			if a := w.send("POST", "/step-up", map[string][]string{"client_token": {w.issuer.ClientToken("alice")}}); a.StatusCode != 200 {
				t.Fatal(a.text)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &heldStore{late: c.late, reached: make(chan struct{}), move: make(chan struct{})}
			w := newTestApp(t, func(o *bff.Options) { h.Store = bff.NewMemoryStore(100, o.Now); o.Store = h })
			old := w.signIn()
			w.issuer.Advance(10 * time.Minute) // the next request refreshes
			h.mu.Lock()
			h.armed, h.skip = true, c.skip
			h.mu.Unlock()
			answered := make(chan *http.Response, 1)
			go func() {
				r, err := http.NewRequest("GET", w.URL+"/api/x", nil)
				if err != nil {
					panic(err)
				}
				r.AddCookie(old)
				r.Header.Set(bff.CSRFHeader, "1")
				a, err := (&http.Client{Transport: w.browser.Transport}).Do(r)
				if err != nil {
					panic(err)
				}
				a.Body.Close()
				answered <- a
			}()
			<-h.reached
			c.change(t, w)
			close(h.move)
			if a := <-answered; a.StatusCode != 401 || len(a.Cookies()) != 0 {
				t.Errorf("%d %v", a.StatusCode, a.Header)
			}
		})
	}
}
