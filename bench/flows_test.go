package bench

import (
	"encoding/json"
	"net/http"
	"net/url"
)

const tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// answer has the members of a token response that the flows use.
type answer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func parse(body []byte) (a answer) {
	_ = json.Unmarshal(body, &a) // without a token the next request fails
	return a
}

// exchanges signs in a hundred users repeatedly.
func exchanges(d *deployment, n int) func(worker, i int) *http.Request {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = d.clientToken(i % 100)
	}
	return func(_, i int) *http.Request {
		return post("/token", url.Values{
			"grant_type": {tokenExchange}, "client_id": {"web"}, "subject_token": {tokens[i]},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		})
	}
}

// signIn opens n sessions.
func (d *deployment) signIn(n int) []answer {
	answers := make(chan answer, n)
	drive(d.b, d.server.address, 0, n, exchanges(d, n), func(_ int, body []byte) { answers <- parse(body) })
	close(answers)
	var list []answer
	for a := range answers {
		list = append(list, a)
	}
	return list
}

// refreshChains refreshes one session per connection, each time with the last refresh
// token.
type refreshChains struct{ last []answer }

func (c *refreshChains) prepare(d *deployment, _ int) func(worker, i int) *http.Request {
	c.last = d.signIn(connections)
	return func(worker, _ int) *http.Request {
		return post("/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"web"}, "refresh_token": {c.last[worker].Refresh}})
	}
}

func (c *refreshChains) answered(worker int, body []byte) { c.last[worker] = parse(body) }

func clientCredentials(*deployment, int) func(worker, i int) *http.Request {
	return func(int, int) *http.Request {
		return asBackend("/token", url.Values{"grant_type": {"client_credentials"}})
	}
}

func introspections(d *deployment, _ int) func(worker, i int) *http.Request {
	sessions := d.signIn(connections)
	return func(worker, _ int) *http.Request {
		return asBackend("/introspect", url.Values{"token": {sessions[worker].Access}})
	}
}

// revocations signs out a different session each time.
func revocations(d *deployment, n int) func(worker, i int) *http.Request {
	sessions := d.signIn(n)
	return func(_, i int) *http.Request {
		return post("/revoke", url.Values{"client_id": {"web"}, "token": {sessions[i].Refresh}})
	}
}

func document(path string) func(*deployment, int) func(worker, i int) *http.Request {
	return func(*deployment, int) func(int, int) *http.Request {
		return func(int, int) *http.Request { return get(path) }
	}
}

func asBackend(path string, form url.Values) *http.Request {
	r := post(path, form)
	r.SetBasicAuth("backend", backendSecret)
	return r
}
