package admin_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey/latchkey/sdk/go/admin"
)

const key = "lk_ak_secret-0123456789"

// fakeServer responds like the admin API, from a list of answers, and records the
// requests. It repeats the last answer.
type fakeServer struct {
	*httptest.Server
	client *admin.Client

	mu       sync.Mutex
	answers  []http.HandlerFunc
	requests []string // method, URL and body
	headers  []http.Header
}

func newFakeServer(t testing.TB, answers ...http.HandlerFunc) *fakeServer {
	t.Helper()
	s := &fakeServer{answers: answers}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	var err error
	if s.client, err = admin.New(admin.Config{Server: s.URL, Key: key}); err != nil {
		t.Fatal(err)
	}
	return s
}

// ServeHTTP implements http.Handler.
func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.requests = append(s.requests, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, body)))
	s.headers = append(s.headers, r.Header)
	answer := s.answers[min(len(s.requests), len(s.answers))-1]
	s.mu.Unlock()
	answer(w, r)
}

// seen returns the requests so far.
func (s *fakeServer) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// header returns a header of the nth request.
func (s *fakeServer) header(n int, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.headers[n].Get(name)
}

// answer sends JSON, or a problem, with header fields given as "Name: value".
func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		kind := "application/json"
		if status >= 400 {
			kind = "application/problem+json"
		}
		w.Header().Set("Content-Type", kind)
		for _, h := range header {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// problem sends a problem.
func problem(status int, code string, header ...string) http.HandlerFunc {
	return answer(status, fmt.Sprintf(`{"title":"T","status":%d,"code":%q,"detail":"What went wrong"}`, status, code), header...)
}

// cut ends the connection without a response.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
