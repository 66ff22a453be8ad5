package testsdk

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
)

// browserApp is an app with a back end for its front end, and a browser.
type browserApp struct {
	URL     string
	browser *http.Client
	t       *testing.T
}

// browserApp starts an app whose API introspects every token.
func (w *appDeployment) browserApp(t *testing.T) *browserApp {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		claims := w.Introspect("", bearerOf(r)).JSON
		if claims["active"] != true || r.Header.Get("Cookie") != "" {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(rw, claims["sub"].(string)+" "+claims["acr"].(string))
	}))
	t.Cleanup(api.Close)
	b, err := bff.New(bff.Options{Client: w.web, Upstreams: map[string]bff.Upstream{"/api/": {URL: api.URL + "/"}}, Now: w.Clock.Now})
	w.ok(err)
	t.Cleanup(b.Close)
	fail := func(rw http.ResponseWriter, err error) {
		if err != nil {
			http.Error(rw, err.Error(), http.StatusTeapot)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", b.Proxy())
	mux.HandleFunc("POST /sign-in", func(rw http.ResponseWriter, r *http.Request) {
		s, err := w.web.CreateSession(latchkey.WithUserAgent(r.Context(), r.UserAgent()), r.PostFormValue("proof"), latchkey.CreateParams{})
		if err == nil {
			err = b.SignIn(rw, r, s)
		}
		fail(rw, err)
	})
	mux.HandleFunc("POST /step-up", func(rw http.ResponseWriter, r *http.Request) {
		_, err := b.StepUp(rw, r, r.PostFormValue("proof"), latchkey.StepUpParams{})
		fail(rw, err)
	})
	mux.HandleFunc("POST /sign-out", func(rw http.ResponseWriter, r *http.Request) { fail(rw, b.SignOut(rw, r)) })
	server := httptest.NewTLSServer(b.Protect(mux))
	t.Cleanup(server.Close)
	app := &browserApp{URL: server.URL, browser: server.Client(), t: t}
	app.browser.Jar, err = cookiejar.New(nil)
	w.ok(err)
	return app
}

// send sends a request like a script of the app's page.
func (a *browserApp) send(method, path, proof string) (status int, text string) {
	a.t.Helper()
	r, err := http.NewRequest(method, a.URL+path, strings.NewReader(url.Values{"proof": {proof}}.Encode()))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}, bff.CSRFHeader: {"1"}, "User-Agent": {"Mozilla/5.0"}}
	answer, err := a.browser.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer.StatusCode, strings.TrimSpace(string(body))
}

func TestABrowserNeedsOnlyItsCookie(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		app, support := w.browserApp(t), w.client("support", latchkey.ClientOptions{})
		want := func(method, path, proof string, status int, text string) {
			t.Helper()
			if got, body := app.send(method, path, proof); got != status || body != text {
				t.Fatalf("%s %s: %d %s", method, path, got, body)
			}
		}
		want("GET", "/api/me", "", 401, `{"error":"login_required"}`)
		want("POST", "/sign-in", w.proof("alice", "pwd"), 200, "")
		want("GET", "/api/me", "", 200, "alice urn:latchkey:acr:1")
		for d, err := range support.UserSessions(t.Context(), "alice") {
			w.ok(err)
			if d.Device.UserAgent != "Mozilla/5.0" {
				t.Errorf("the device is %+v", d.Device)
			}
		}
		want("POST", "/step-up", w.proof("alice", "otp"), 200, "")
		for range 3 {
			w.Clock.Advance(time.Hour)
			w.lose(1)
			want("GET", "/api/me", "", 200, "alice urn:latchkey:acr:2")
		}
		w.ok(support.EndUserSessions(t.Context(), "alice"))
		w.Clock.Advance(time.Hour)
		want("GET", "/api/me", "", 401, `{"error":"login_required","latchkey_end_reason":"revoked_by_backend"}`)

		want("POST", "/sign-in", w.proof("alice", "pwd"), 200, "")
		want("POST", "/sign-out", "", 200, "")
		want("GET", "/api/me", "", 401, `{"error":"login_required"}`)
		for d, err := range support.UserSessions(t.Context(), "alice") {
			t.Errorf("left %v, %v", d, err)
		}
	})
}
