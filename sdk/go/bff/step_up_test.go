package bff_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// losing lets the issuer carry out requests and loses its answers.
func (w *testApp) losing(lose bool) {
	w.fault.Store(nil)
	if lose {
		fault := func(r *http.Request) (*http.Response, error) {
			if answer, err := http.DefaultTransport.RoundTrip(r); err == nil {
				answer.Body.Close()
			}
			return nil, errors.New("connection reset by peer")
		}
		w.fault.Store(&fault)
	}
}

func (w *testApp) otp() string {
	return w.issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"otp"}})
}

func TestALostStepUpLosesNeitherSessionNorCookie(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]func(w *testApp, otp string) answer{
		"the next request settles it": func(w *testApp, _ string) answer { return w.get("/api/orders") },
		"the step-up is repeated": func(w *testApp, otp string) answer {
			return w.send("POST", "/step-up", url.Values{"client_token": {otp}})
		},
		"another step-up settles it": func(w *testApp, _ string) answer {
			return w.send("POST", "/step-up", url.Values{"client_token": {w.otp()}})
		},
		"a restart comes in between": func(w *testApp, _ string) answer { return w.again().get("/api/orders") },
		"a restart, then the same again": func(w *testApp, otp string) answer {
			return w.again().send("POST", "/step-up", url.Values{"client_token": {otp}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestApp(t)
			if strings.HasPrefix(name, "a restart") { // of sessions in cookies
				w = newTestApp(t, func(o *bff.Options) { o.CookieKeys = [][]byte{cookieKey} })
			}
			w.signIn()
			sid, otp := w.session(), w.otp()
			w.losing(true)
			if a := w.send("POST", "/step-up", url.Values{"client_token": {otp}}); a.StatusCode != http.StatusTeapot {
				t.Fatalf("answered %d %s", a.StatusCode, a.text)
			}
			w.losing(false)
			w.issuer.Advance(4 * time.Minute)
			if a := settle(w, otp); a.StatusCode != http.StatusOK {
				t.Fatalf("answered %d %s", a.StatusCode, a.text)
			}
			w.issuer.Advance(time.Hour)
			if a := w.get("/api/orders"); a.StatusCode != http.StatusOK || w.session() != sid {
				t.Fatalf("an hour later: %d %s", a.StatusCode, a.text)
			}
			if got := w.claims(); got.ACR != "urn:latchkey:acr:2" {
				t.Errorf("the step-up is lost: %v", got)
			}
		})
	}
}

func TestABrowserMayRepeatAStepUp(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	old := w.signIn()
	sid, otp := w.session(), w.otp()
	answered := w.cookie(w.send("POST", "/step-up", url.Values{"client_token": {otp}}))
	w.useCookie(old)
	if a := w.send("POST", "/step-up", url.Values{"client_token": {w.otp()}}); a.StatusCode == http.StatusOK || len(a.Cookies()) != 0 {
		t.Errorf("another client token gets the cookie: %d", a.StatusCode)
	}
	if again := w.cookie(w.send("POST", "/step-up", url.Values{"client_token": {otp}})); again.Value != answered.Value || w.session() != sid {
		t.Error("the repetition gets another cookie")
	}
	w.useCookie(old)
	w.issuer.Advance(2 * time.Minute)
	if a := w.send("POST", "/step-up", url.Values{"client_token": {otp}}); a.StatusCode == http.StatusOK || len(a.Cookies()) != 0 {
		t.Errorf("an expired client token gets the cookie: %d", a.StatusCode)
	}
}
