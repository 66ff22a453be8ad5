package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

// server is a client of a running `latchkey serve` or `dev`. Its methods for requests
// are safe for concurrent use.
type server struct {
	*process
	scheme string
	url    string
}

// answer is the response of a server. Its status is 0 if the connection failed.
type response struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

// text returns a string member of the response, or "" if it is absent.
func (a *response) text(name string) string {
	s, _ := a.json[name].(string)
	return s
}

// is reports whether an introspection returned this value of active.
func (a *response) is(active bool) bool { return a.status == 200 && a.json["active"] == active }

var httpClient = &http.Client{
	Timeout:   waitTimeout,
	Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Second},
}

// option changes a request before it is sent.
type option func(*http.Request)

func header(name, value string) option {
	return func(r *http.Request) {
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
	}
}

func basic(id, secret string) option {
	return func(r *http.Request) { r.SetBasicAuth(id, secret) }
}

func (s *server) get(path string, opts ...option) *response {
	return s.do(http.MethodGet, path, "", opts...)
}

// post sends a form of pairs: name, value, …
func (s *server) post(path string, form []string, opts ...option) *response {
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	opts = append([]option{header("Content-Type", "application/x-www-form-urlencoded")}, opts...)
	a := s.do(http.MethodPost, path, values.Encode(), opts...)
	for deadline := time.Now().Add(waitTimeout); a.status == 503 && a.text("latchkey_reason") == "server_busy" && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond) // the machine is busy; the request spent nothing
		a = s.do(http.MethodPost, path, values.Encode(), opts...)
	}
	return a
}

func (s *server) do(method, path, body string, opts ...option) *response {
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return &response{body: err.Error()}
	}
	for _, o := range opts {
		o(r)
	}
	resp, err := httpClient.Do(r)
	if err != nil {
		return &response{body: err.Error()}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return &response{body: err.Error()}
	}
	return parse(resp.StatusCode, resp.Header, text)
}

func parse(status int, header http.Header, body []byte) *response {
	a := &response{status: status, header: header, body: string(body)}
	_ = json.Unmarshal(body, &a.json) // some bodies are not JSON
	return a
}

// exchange exchanges a client token at the client "web".
func (s *server) exchange(token string) *response { return s.exchangeAt("web", token) }

func (s *server) exchangeAt(client, token string) *response {
	return s.post("/token", []string{
		"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "client_id", client,
		"subject_token_type", "urn:ietf:params:oauth:token-type:jwt", "subject_token", token,
	})
}

// refresh uses a refresh token at the client "web".
func (s *server) refresh(token string) *response {
	return s.post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", token})
}

// revoke signs out at the client "web".
func (s *server) revoke(token string) *response {
	return s.post("/revoke", []string{"client_id", "web", "token", token})
}

// introspect introspects a token as the client "backend".
func (s *server) introspect(token string) *response {
	return s.post("/introspect", []string{"token", token}, basic("backend", testserver.ClientSecret))
}

// kids returns the ids of the keys that the server publishes.
func (s *server) kids() []string {
	var set struct{ Keys []struct{ Kid string } }
	_ = json.Unmarshal([]byte(s.get("/.well-known/jwks.json").body), &set) // on an error there are none
	var kids []string
	for _, key := range set.Keys {
		kids = append(kids, key.Kid)
	}
	return kids
}
