package bff_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// refuseAll makes the API reject every token that it has received so far.
func (a *api) refuseAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	bad := map[string]bool{}
	for token := range a.seen {
		bad[token] = true
	}
	a.refuses = func(token string) bool { return bad[token] }
}

func (a *api) refuse(token func(string) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuses = token
}

// refreshes checks how many token requests do causes.
func (w *testApp) refreshes(want int64, what string, do func()) {
	w.t.Helper()
	before := w.posts.Load()
	do()
	if n := w.posts.Load() - before; n != want {
		w.t.Errorf("%s: %d refreshes", what, n)
	}
}

// answers checks the response to a request to the API.
func (w *testApp) answers(a answer, status int, what string) {
	w.t.Helper()
	if a.StatusCode != status {
		w.t.Errorf("%s: %d %s", what, a.StatusCode, a.text)
	}
}

func TestATokenThatAnUpstreamRejectsIsReplacedOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][]func(*bff.Options){"the session's own": nil, "for the upstream alone": {narrow}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestAppWithRetryWindow(t, time.Minute, change...) // long enough for a busy machine
			w.wanted = everywhere
			w.signIn()
			w.answers(w.get("/api/orders"), 200, "before")
			w.api.refuseAll()
			w.refreshes(1, "many requests at once", func() {
				var all sync.WaitGroup
				for range 16 {
					all.Go(func() { w.answers(w.get("/api/orders"), 200, "reading") })
				}
				all.Wait()
			})
			w.refreshes(0, "afterwards", func() { w.answers(w.send("POST", "/api/orders", nil), 200, "a request without a body") })
		})
	}
}

func TestARequestWhoseBodyIsGoneIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.signIn()
	w.get("/api/orders")
	w.api.refuseAll()
	w.api.take()
	order := url.Values{"item": {"tea"}}
	w.refreshes(1, "two requests", func() {
		a := w.send("POST", "/api/orders", order)
		w.answers(a, 401, "the first")
		if a.Header.Get("WWW-Authenticate") != invalidToken || len(a.Cookies()) != 0 || len(w.api.take()) != 1 {
			t.Errorf("answered %v", a.Header)
		}
		w.answers(w.send("POST", "/api/orders", order), 200, "the next")
	})
}

func TestARequestWithABodyThatIsStillThereIsRepeated(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	c := w.signIn()
	w.get("/api/orders")
	w.api.refuseAll()
	w.api.take()
	r := httptest.NewRequest("POST", "https://app.example.com/api/orders", strings.NewReader("tea"))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("tea")), nil }
	r.Header.Set(bff.CSRFHeader, "1")
	r.AddCookie(c)
	recorded := httptest.NewRecorder()
	w.Proxy().ServeHTTP(recorded, r)
	if asked := w.api.take(); recorded.Code != 200 || len(asked) != 2 || asked[1].ContentLength != 3 {
		t.Errorf("answered %d after %d requests", recorded.Code, len(asked))
	}
}

func TestAnUpstreamThatRejectsEveryTokenCausesOneRefresh(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.signIn()
	w.api.refuse(func(string) bool { return true })
	many := func() {
		for range 5 {
			a := w.get("/api/orders")
			w.answers(a, 401, "refused")
			if a.Header.Get("WWW-Authenticate") != invalidToken || len(a.Cookies()) != 0 {
				t.Errorf("answered %v", a.Header)
			}
		}
	}
	w.refreshes(1, "with a token", many)
	w.issuer.Advance(replacePause)
	w.refreshes(0, "with the same", many)
	w.issuer.Advance(latchkeytest.AccessTokenLifetime)
	w.refreshes(2, "with the next, which is also replaced", many)
}

// replacePause exceeds the pause between two replacements.
const replacePause = 31 * time.Second

func TestAnAcceptedTokenMayBeRejectedLater(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.signIn()
	w.get("/api/orders")
	for range 3 {
		w.api.refuseAll()
		w.refreshes(1, "refused", func() { w.answers(w.get("/api/orders"), 200, "replaced") })
		w.api.refuseAll()
		w.refreshes(0, "refused at once", func() { w.answers(w.get("/api/orders"), 401, "not replaced") })
		w.issuer.Advance(replacePause)
	}
}

func TestARejectedTokenDistinguishesAnEndedSessionFromAnOutage(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.signIn()
	w.get("/api/orders")
	w.api.refuseAll()
	w.issuer.SetDown(true)
	a := w.get("/api/orders")
	if w.answers(a, 503, "nobody knows"); !strings.Contains(a.text, "temporarily_unavailable") || a.Header.Get("Retry-After") == "" || len(a.Cookies()) != 0 {
		t.Errorf("answered %s %v", a.text, a.Header)
	}
	w.issuer.SetDown(false)
	w.issuer.RevokeSession(w.session())
	a = w.send("POST", "/api/orders", url.Values{"item": {"tea"}})
	if w.answers(a, 401, "it is over"); !strings.Contains(a.text, "login_required") || w.session() != "" || len(a.Cookies()) != 0 {
		t.Errorf("answered %s %v", a.text, a.Header)
	}
}

func TestAnotherRefusalOfAnUpstreamPasses(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.signIn()
	for _, challenge := range []string{`Bearer error="insufficient_user_authentication"`, `Bearer realm="invalid_token"`, ""} {
		w.api.answer = func(rw http.ResponseWriter) {
			rw.Header().Set("WWW-Authenticate", challenge)
			rw.WriteHeader(http.StatusUnauthorized)
		}
		w.refreshes(0, challenge, func() { w.answers(w.get("/api/orders"), 401, challenge) })
	}
}
