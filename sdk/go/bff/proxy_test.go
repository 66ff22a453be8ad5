package bff_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/sdk/go/bff"
)

func TestForgedRequestsAreRejected(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	w.signIn()
	token := strings.Fields(w.get("/me").text)[1]
	field := func(value string) url.Values { return url.Values{bff.CSRFFormField: {value}} }
	for name, c := range map[string]struct {
		method, path string
		form         url.Values
		header       []string
		status       int
	}{
		"a script of our page":                  {"POST", "/change", nil, nil, 200},
		"a form of our page":                    {"POST", "/change", field(token), []string{bff.CSRFHeader, ""}, 200},
		"a form without its token":              {"POST", "/change", nil, []string{bff.CSRFHeader, ""}, 403},
		"a form with another token":             {"POST", "/change", field(strings.Repeat("A", 43)), []string{bff.CSRFHeader, ""}, 403},
		"a token in JSON":                       {"POST", "/change", field(token), []string{bff.CSRFHeader, "", "Content-Type", "text/plain"}, 403},
		"a token in the URL":                    {"POST", "/change?" + field(token).Encode(), nil, []string{bff.CSRFHeader, ""}, 403},
		"a script of another site":              {"POST", "/change", nil, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a script of a sibling":                 {"POST", "/change", nil, []string{"Sec-Fetch-Site", "same-site"}, 403},
		"an old browser's script, of us":        {"POST", "/change", nil, []string{"Sec-Fetch-Site", "", "Origin", w.URL}, 200},
		"an old browser's script, of another":   {"POST", "/change", nil, []string{"Sec-Fetch-Site", "", "Origin", "https://evil.example.com"}, 403},
		"an old browser's script, of nobody":    {"POST", "/change", nil, []string{"Sec-Fetch-Site", "", "Origin", "null"}, 403},
		"a program":                             {"POST", "/change", nil, []string{"Sec-Fetch-Site", ""}, 200},
		"a program without the header":          {"POST", "/change", nil, []string{"Sec-Fetch-Site", "", bff.CSRFHeader, ""}, 403},
		"DELETE":                                {"DELETE", "/change", nil, []string{bff.CSRFHeader, ""}, 403},
		"reading a page":                        {"GET", "/me", nil, []string{bff.CSRFHeader, "", "Sec-Fetch-Site", "cross-site"}, 200},
		"signing in from elsewhere":             {"POST", "/sign-in", nil, []string{"Cookie", "", "Sec-Fetch-Site", "cross-site"}, 403},
		"signing out from elsewhere":            {"POST", "/sign-out", nil, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"the API, by a script of our page":      {"POST", "/api/orders", nil, nil, 200},
		"the API, by another site":              {"POST", "/api/orders", nil, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"the API, by a form":                    {"POST", "/api/orders", field(token), []string{bff.CSRFHeader, ""}, 403},
		"reading the API without the header":    {"GET", "/api/orders", nil, []string{bff.CSRFHeader, ""}, 403},
		"a preflight":                           {"OPTIONS", "/api/orders", nil, []string{bff.CSRFHeader, "", "Origin", "https://evil.example.com", "Access-Control-Request-Method", "POST"}, 403},
		"a WebSocket, which has no such header": {"GET", "/api/orders", nil, []string{bff.CSRFHeader, "", "Connection", "Upgrade", "Upgrade", "websocket"}, 403},
	} {
		w.api.take()
		a := w.send(c.method, c.path, c.form, c.header...)
		if a.StatusCode != c.status {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.text)
		}
		if forwarded := len(w.api.take()); forwarded > 0 && c.status != 200 {
			t.Errorf("%s reached the API", name)
		}
	}
	if w.session() == "" {
		t.Error("signed out")
	}
}

func TestTrustedOriginsMaySend(t *testing.T) {
	t.Parallel()
	w := newTestApp(t, func(o *bff.Options) { o.TrustedOrigins = []string{"https://admin.example.com"} })
	w.signIn()
	if a := w.send("POST", "/change", nil, "Sec-Fetch-Site", "same-site", "Origin", "https://admin.example.com"); a.StatusCode != 200 {
		t.Errorf("answered %d", a.StatusCode)
	}
}

func TestTheProxyReplacesTheCookieByTheAccessToken(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	c := w.signIn()
	w.api.answer = func(rw http.ResponseWriter) {
		rw.Header().Add("Set-Cookie", "__Host-session=evil; Path=/; Secure")
		rw.Header().Set("Access-Control-Allow-Origin", "*")
		rw.Header().Set("Access-Control-Allow-Headers", bff.CSRFHeader)
		rw.Header().Set("Clear-Site-Data", "*")
		rw.Header().Set("Cache-Control", "public, max-age=3600")
		rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_user_authentication"`)
		rw.WriteHeader(http.StatusUnauthorized)
	}
	a := w.send("POST", "/api/orders/7%20a?x=1&y=%zz", url.Values{"q": {"1"}}, "Authorization", "Bearer mine", "X-Forwarded-For", "203.0.113.9", "Forwarded", "for=203.0.113.9")
	asked := w.api.take()
	if len(asked) != 1 {
		t.Fatalf("answered %d %s", a.StatusCode, a.text)
	}
	r := asked[0]
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if len(r.Header.Values("Authorization")) != 1 || strings.Count(token, ".") != 2 {
		t.Errorf("sent %q", r.Header.Values("Authorization"))
	}
	if r.Header.Get("Cookie") != "" || r.Header.Get(bff.CSRFHeader) != "" || strings.Contains(r.Header.Get("X-Forwarded-For"), "203") || r.Header.Get("Forwarded") != "" {
		t.Errorf("sent %v", r.Header)
	}
	for _, values := range r.Header {
		if strings.Contains(strings.Join(values, " "), c.Value) {
			t.Error("the handle reached the API")
		}
	}
	if r.URL.EscapedPath() != "/v1/orders/7%20a" || r.URL.RawQuery != "x=1" || r.Method != "POST" || r.Host != strings.TrimPrefix(w.api.URL, "http://") {
		t.Errorf("asked %s %s %s", r.Method, r.Host, r.URL)
	}
	w.get("/api/orders", "Connection", "Authorization, Cookie")
	if asked := w.api.take(); len(asked) != 1 || asked[0].Header.Get("Authorization") != "Bearer "+token {
		t.Error("the caller can have the token taken away")
	}
	if a.StatusCode != 401 || a.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("answered %d %v", a.StatusCode, a.Header)
	}
	if len(a.Cookies()) != 0 || a.Header.Get("Clear-Site-Data") != "" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("answered %v", a.Header)
	}
}

func TestTheProxyForwardsToItsUpstreamsOnly(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	c := w.signIn()
	for path, want := range map[string]string{
		"/api/":                        "/v1/",
		"/api/orders":                  "/v1/orders",
		"/api/files/a":                 "/files/a",
		"/api/a//b":                    "/v1/a//b",
		"/api/%C3%A9":                  "/v1/%C3%A9",
		"/api/@evil.example.com/":      "/v1/@evil.example.com/",
		"/api//evil.example.com/":      "/v1//evil.example.com/",
		"/api/x/https:/evil.example":   "/v1/x/https:/evil.example",
		"/api/%66iles/a":               "/files/a",
		"/api/a;b=c/100%25":            "/v1/a;b=c/100%25",
		"/api/..;/admin":               "",
		"/api/..;x=y/admin":            "",
		"/api/%252e%252e/admin":        "",
		"/api/a%252Fb":                 "",
		"/api/a%00b":                   "",
		"/api/../admin":                "",
		"/api/x/../../admin":           "",
		"/api/%2e%2e/admin":            "",
		"/api/.%2E/admin":              "",
		"/api/./a":                     "",
		"/api/..%2fadmin":              "",
		"/api/..%5cadmin":              "",
		`/api/..\admin`:                "",
		"/other":                       "",
		"/api":                         "",
		"/apis/a":                      "",
		"https://evil.example.com/api": "",
	} {
		recorded := httptest.NewRecorder()
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + path + " HTTP/1.1\r\nHost: app.example.com\r\n\r\n"))) // as it stands
		must(t, err)
		r.Header.Set(bff.CSRFHeader, "1")
		r.AddCookie(c)
		w.Proxy().ServeHTTP(recorded, r)
		var got string
		if asked := w.api.take(); len(asked) == 1 {
			got = asked[0].URL.EscapedPath()
		}
		if got != want || want == "" && recorded.Code != 404 {
			t.Errorf("%s went to %q: %d", path, got, recorded.Code)
		}
	}
}

func TestTheProxyRefreshesOnceForAll(t *testing.T) {
	t.Parallel()
	w := newTestAppWithRetryWindow(t, time.Minute) // patient with a busy machine
	w.signIn()
	w.issuer.Advance(time.Hour)
	before := w.posts.Load()
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if a := w.get("/api/orders"); a.StatusCode != 200 {
				t.Errorf("answered %d %s", a.StatusCode, a.text)
			}
		})
	}
	all.Wait()
	if n := w.posts.Load() - before; n != 1 {
		t.Errorf("%d requests to the issuer", n)
	}
	tokens := map[string]bool{}
	for _, r := range w.api.take() {
		tokens[r.Header.Get("Authorization")] = true
	}
	if len(tokens) != 1 {
		t.Errorf("%d tokens", len(tokens))
	}
}

func TestTheProxyDistinguishesAnEndedSessionFromAnOutage(t *testing.T) {
	t.Parallel()
	w := newTestApp(t)
	want := func(what string, status int, text string) answer {
		t.Helper()
		a := w.get("/api/orders")
		if a.StatusCode != status || !strings.Contains(a.text, text) {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.text)
		}
		return a
	}
	if a := want("without a session", 401, "login_required"); a.Header.Get("WWW-Authenticate") == "" {
		t.Error("a 401 without a challenge")
	}
	w.signIn()
	want("with one", 200, "")

	w.issuer.SetDown(true)
	want("with a token that lives", 200, "")
	w.issuer.Advance(time.Hour)
	if a := want("with the server away", 503, "temporarily_unavailable"); a.Header.Get("Retry-After") == "" || len(a.Cookies()) != 0 {
		t.Errorf("answered %v", a.Header)
	}
	w.issuer.SetDown(false)
	want("with the server back", 200, "")

	w.issuer.RevokeSession(w.session())
	w.issuer.Advance(time.Hour)
	if a := want("ended elsewhere", 401, "login_required"); len(a.Cookies()) != 0 {
		t.Errorf("a late answer could delete the next cookie: %v", a.Header)
	}
}

func TestAnUnreachableUpstreamAnswers502(t *testing.T) {
	t.Parallel()
	w := newTestApp(t, func(o *bff.Options) { o.Upstreams = map[string]bff.Upstream{"/api/": {URL: "http://127.0.0.1:1/"}} })
	w.signIn()
	if a := w.get("/api/orders"); a.StatusCode != 502 || !strings.Contains(a.text, "bad_gateway") {
		t.Errorf("answered %d %s", a.StatusCode, a.text)
	}
}
