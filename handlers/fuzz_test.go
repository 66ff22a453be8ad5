package handlers_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

// echo represents what a caller sent. A response must not repeat it, and the log
// may contain it only as the received value of a refusal.
const echo = "Ech0-7Qz41xW9"

var received = regexp.MustCompile(`"?received"?[=:]("(\\.|[^"\\])*"|\S*)`)

// FuzzRouter checks that the response to any request is a document or a
// refusal, repeats nothing, and neither contains nor confirms a token. Target,
// header lines and body are the text of a request. In header and body {access},
// {refresh} and {session} become live tokens in which one byte is changed: at `at`,
// by `by`.
func FuzzRouter(f *testing.F) {
	w := testserver.New(f, testserver.Options{DatabaseURL: testdb.SQLite(f)})
	issuer := testserver.NewIssuer(f, w.Clock)
	other := testserver.Web()
	w.Apply(testserver.Tenant("default", issuer, testserver.Web(), testserver.Backend()),
		settings.TenantSpec{ID: "acme", Clients: []settings.ClientSpec{other}})
	live := w.Post("/token", []string{
		"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token_type", "urn:ietf:params:oauth:token-type:jwt",
		"subject_token", issuer.Token(w.URL, "alice", nil),
	}, testserver.Basic("backend", testserver.ClientSecret))
	if live.Status != http.StatusOK {
		f.Fatalf("%s", live.Body)
	}
	w.Log.Take()
	f.Fuzz(func(t *testing.T, method, target, header, body string, at uint, by byte) {
		for name, token := range map[string]string{
			"{access}": live.Text("access_token"), "{refresh}": live.Text("refresh_token"), "{session}": live.Text("session_token"),
		} {
			changed := []byte(token)
			if changed[at%uint(len(changed))] ^= by; by != 0 {
				body = strings.ReplaceAll(body, name, url.QueryEscape(string(changed)))
				header = strings.ReplaceAll(header, name, string(changed))
			}
		}
		r := request(method, target, header, body)
		if r == nil {
			return // net/http rejects it before it calls a handler
		}
		recorder := httptest.NewRecorder()
		w.Handler.ServeHTTP(recorder, r)
		a := recorder.Result()
		text, log := recorder.Body.String(), w.Log.Take()
		fail := func(problem string) {
			t.Helper()
			t.Errorf("%s: %d %v\n%s\n%s", problem, a.StatusCode, a.Header, text, log)
		}
		var members map[string]any
		isJSON := json.Unmarshal([]byte(text), &members) == nil
		switch {
		case a.StatusCode >= 500:
			fail("an internal error")
		case a.StatusCode >= 400 && (!isJSON || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store"):
			fail("a refusal in another format")
		case confirms(text):
			fail("the response confirms a token")
		case a.StatusCode == http.StatusOK && members["access_token"] != nil && (members["refresh_token"] != nil || members["session_id"] != nil || !hasSecret(r, body)):
			fail("the response contains a token")
		}
		for name := range members {
			if a.StatusCode >= 400 && name != "error" && name != "error_description" && name != "latchkey_reason" {
				fail("a refusal has additional members")
			}
		}
		for name, values := range a.Header {
			if strings.Contains(strings.Join(values, "\n"), echo) {
				fail(name + " repeats the request")
			}
		}
		if strings.Contains(text, echo) || strings.Contains(received.ReplaceAllString(log, ""), echo) {
			fail("the request is repeated")
		}
		public := strings.Contains(r.URL.Path, "/.well-known/")
		if origin := a.Header.Get("Access-Control-Allow-Origin"); origin != "" && !public && (origin != "https://app.example.com" || r.Header.Get("Origin") != origin) {
			fail("another origin is allowed")
		}
		if a.Header.Get("X-Content-Type-Options") != "nosniff" {
			fail("headers are missing")
		}
	})
}

// request parses a request, as net/http does before it calls a handler. It returns
// nil if net/http would not call it.
func request(method, target, header, body string) *http.Request {
	text := method + " " + target + " HTTP/1.1\r\nHost: id.example.com\r\n" + header
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimRight(text, "\r\n") + "\r\n\r\n")))
	if err != nil || r.ContentLength > 0 {
		return nil
	}
	r.Body, r.RemoteAddr = io.NopCloser(strings.NewReader(body)), "192.0.2.1:1234"
	if r.ContentLength == 0 {
		r.ContentLength = int64(len(body))
	}
	return r
}

// confirms reports whether a response, signed or not, reports a token as active or
// names its user.
func confirms(text string) bool {
	for _, part := range strings.Split(text, ".") {
		payload, _ := base64.RawURLEncoding.DecodeString(part)
		text += string(payload)
	}
	return strings.Contains(text, `"active":true`) || strings.Contains(text, `"sub":"alice"`)
}

// hasSecret reports whether a request is from the only client with a secret.
func hasSecret(r *http.Request, body string) bool {
	form, _ := url.ParseQuery(body)
	_, password, _ := r.BasicAuth()
	secret, _ := url.QueryUnescape(password)
	return secret == testserver.ClientSecret || form.Get("client_secret") == testserver.ClientSecret
}
