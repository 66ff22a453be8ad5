package bff_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
)

var cookieKey = bytes.Repeat([]byte("k"), 32)

func newSealedApp(t *testing.T, keys ...[]byte) *testApp {
	t.Helper()
	if keys == nil {
		keys = [][]byte{cookieKey}
	}
	return newTestAppWithRetryWindow(t, 30*time.Second, func(o *bff.Options) { o.CookieKeys = keys })
}

// again returns the same app in another process, or after a restart: only the
// keys and the browser's cookies are left.
func (w *testApp) again(keys ...[]byte) *testApp {
	w.t.Helper()
	if keys == nil {
		keys = [][]byte{cookieKey}
	}
	client, err := latchkey.NewClient(w.issuer.URL, "web", latchkey.ClientOptions{HTTPClient: &http.Client{Transport: w}, Now: w.issuer.Now})
	must(w.t, err)
	other := &testApp{issuer: w.issuer, api: w.api, client: client, t: w.t}
	other.BFF, err = bff.New(bff.Options{
		Client: client, Upstreams: map[string]bff.Upstream{"/api/": {URL: w.api.URL + "/v1/"}}, Now: w.issuer.Now, CookieKeys: keys,
	})
	must(w.t, err)
	w.t.Cleanup(other.Close)
	jar := w.browser.Jar
	other.serve(client, false)
	other.browser.Jar = jar
	return other
}

func TestASealedSessionOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	first := newSealedApp(t)
	first.signIn()
	processes := []*testApp{first, first.again(), first.again()}
	for i := range 12 {
		if a := processes[i%3].get("/api/x"); a.StatusCode != 200 {
			t.Fatalf("request %d is answered %d %s", i, a.StatusCode, a.text)
		}
		first.issuer.Advance(6 * time.Minute) // the next request refreshes
	}
	if a := first.again().get("/api/x"); a.StatusCode != 200 {
		t.Errorf("after a restart the answer is %d %s", a.StatusCode, a.text)
	}
}

func TestParallelRequestsOfASealedSessionStaySignedIn(t *testing.T) {
	t.Parallel()
	first := newSealedApp(t)
	first.signIn()
	second := first.again()
	for range 5 {
		first.issuer.Advance(6 * time.Minute)
		var wait sync.WaitGroup
		for i := range 16 {
			wait.Go(func() {
				r, err := http.NewRequest("GET", []*testApp{first, second}[i%2].URL+"/api/x", nil)
				if err != nil {
					panic(err)
				}
				r.Header.Set(bff.CSRFHeader, "1")
				a, err := first.browser.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				if a.Body.Close(); a.StatusCode != 200 {
					t.Errorf("answered %d", a.StatusCode)
				}
			})
		}
		wait.Wait()
	}
}

// A copied cookie grants what the session grants, and no more.
func TestASealedCookieIsUselessAfterTheSession(t *testing.T) {
	t.Parallel()
	w := newSealedApp(t)
	copied, sid := w.signIn(), w.session()
	if a := w.send("POST", "/sign-out", nil); a.StatusCode != 200 {
		t.Fatal(a.StatusCode, a.text)
	}
	for w.issuer.SessionActive(sid) { // until the revocation arrives, or the test runs out of time
		time.Sleep(time.Millisecond)
	}
	for name, process := range map[string]*testApp{"the same process": w, "another process": w.again()} {
		r, err := http.NewRequest("GET", process.URL+"/api/x", nil)
		must(t, err)
		r.AddCookie(copied)
		r.Header.Set(bff.CSRFHeader, "1")
		a, err := (&http.Client{Transport: w.browser.Transport}).Do(r)
		must(t, err)
		if a.Body.Close(); a.StatusCode != 401 {
			t.Errorf("%s answers %d to a copy of the cookie", name, a.StatusCode)
		}
	}
}

func TestASealedCookieRevealsNothingAndCannotBeForged(t *testing.T) {
	t.Parallel()
	w := newSealedApp(t)
	cookie := w.signIn()
	box, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	must(t, err)
	if bytes.Contains(box, []byte("lk_rt_")) || strings.Contains(cookie.Value, "lk_rt_") {
		t.Error("the refresh token is in clear text")
	}
	changed := bytes.Clone(box)
	changed[len(changed)/2] ^= 1
	for name, value := range map[string]string{
		"one changed bit": base64.RawURLEncoding.EncodeToString(changed),
		"cut off":         cookie.Value[:len(cookie.Value)-4],
		"too short":       "AAAA",
		"not base64":      "!" + cookie.Value[1:],
		"another base64":  cookie.Value + "=",
		"a handle":        strings.Repeat("A", 43),
	} {
		r, err := http.NewRequest("GET", w.URL+"/api/x", nil)
		must(t, err)
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: value})
		r.Header.Set(bff.CSRFHeader, "1")
		a, err := (&http.Client{Transport: w.browser.Transport}).Do(r)
		must(t, err)
		if a.Body.Close(); a.StatusCode != 401 {
			t.Errorf("%s is answered %d", name, a.StatusCode)
		}
	}
	if a := w.again(bytes.Repeat([]byte("x"), 32)).get("/api/x"); a.StatusCode != 401 {
		t.Errorf("a cookie sealed by another key is answered %d", a.StatusCode)
	}
}

func TestCookieKeysAreChangedWithoutASignOut(t *testing.T) {
	t.Parallel()
	w := newSealedApp(t)
	w.signIn()
	next := bytes.Repeat([]byte("n"), 32)
	rolled := w.again(next, cookieKey)
	if a := rolled.get("/api/x"); a.StatusCode != 200 {
		t.Fatalf("answered %d with the old key as the second", a.StatusCode)
	}
	// The refresh of that request sealed the session with the new key.
	if a := w.again(next).get("/api/x"); a.StatusCode != 200 {
		t.Errorf("answered %d with the new key alone", a.StatusCode)
	}
}

func TestAStepUpSealsANewCookie(t *testing.T) {
	t.Parallel()
	w := newSealedApp(t)
	old := w.signIn()
	a := w.send("POST", "/step-up", map[string][]string{"client_token": {w.issuer.ClientToken("alice")}})
	if a.StatusCode != 200 || len(a.Cookies()) != 1 || a.Cookies()[0].Value == old.Value {
		t.Fatalf("answered %d with the cookies %v", a.StatusCode, a.Cookies())
	}
	if a := w.again().get("/api/x"); a.StatusCode != 200 {
		t.Errorf("after it another process answers %d", a.StatusCode)
	}
}

func TestTheProxyAloneRenewsASealedCookie(t *testing.T) {
	t.Parallel()
	w := newSealedApp(t)
	old := w.signIn()
	w.issuer.Advance(10 * time.Minute) // the next request refreshes
	r := httptest.NewRequest("GET", w.URL+"/api/x", nil)
	r.AddCookie(old)
	r.Header.Set(bff.CSRFHeader, "1")
	answer := httptest.NewRecorder()
	w.Proxy().ServeHTTP(answer, r)
	if cookies := answer.Result().Cookies(); answer.Code != 200 || len(cookies) != 1 || cookies[0].Value == old.Value {
		t.Errorf("answered %d with the cookies %v", answer.Code, cookies)
	}
}

func TestAFlushedResponseCarriesTheNewCookie(t *testing.T) {
	t.Parallel()
	w := newSealedApp(t)
	old := w.signIn()
	w.issuer.Advance(10 * time.Minute)
	for name, write := range map[string]func(http.ResponseWriter){
		"written":     func(rw http.ResponseWriter) { rw.Write([]byte("x")) },
		"flushed":     func(rw http.ResponseWriter) { rw.(http.Flusher).Flush() },
		"not touched": func(http.ResponseWriter) {},
		"a status":    func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusAccepted) },
	} {
		answer := httptest.NewRecorder()
		r := httptest.NewRequest("GET", w.URL+"/page", nil)
		r.AddCookie(old)
		w.Protect(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			s, err := w.Session(r)
			must(t, err)
			_, err = w.client.AccessToken(r.Context(), s)
			must(t, err)
			write(rw)
		})).ServeHTTP(answer, r)
		if len(answer.Result().Cookies()) != 1 {
			t.Errorf("an answer that is %s has the cookies %v", name, answer.Result().Cookies())
		}
	}
}

func TestSealedSessionsNeedProtect(t *testing.T) {
	t.Parallel()
	w := newSealedApp(t)
	cookie := w.signIn()
	r := httptest.NewRequest("GET", "https://app.example.com/", nil)
	r.AddCookie(cookie)
	if _, err := w.Session(r); err == nil || errors.Is(err, bff.ErrNoSession) || !strings.Contains(err.Error(), "Protect") {
		t.Errorf("outside of Protect the error is %v", err)
	}
}

func TestCookieKeysAreChecked(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	for name, o := range map[string]bff.Options{
		"a key of AES-128": {CookieKeys: [][]byte{cookieKey[:16]}},
		"a long key":       {CookieKeys: [][]byte{cookieKey, append(cookieKey, 'k')}},
		"a store beside":   {CookieKeys: [][]byte{cookieKey}, Store: bff.NewMemoryStore(1, nil)},
	} {
		o.Client = w.client
		if _, err := bff.New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
