package main

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/handlers"
)

// lie is an answer that the walk-through gets instead of the true one.
type lie struct {
	path   string
	nth    int // request of the path; 0: every one
	status int
	body   string
}

// The walk-through is what a newcomer believes: it says nothing that it has
// not seen.
func TestWalkThroughFailsAtAServerThat(t *testing.T) {
	for name, c := range map[string]struct {
		lie  lie
		want string // empty: none
	}{
		"does as it should, no more":                  {lie{}, ""},
		"mints no client tokens":                      {lie{"/dev/client-token", 0, 404, `{"error":"not_found"}`}, "/dev/client-token: answered 404"},
		"answers an exchange without a refresh token": {lie{"/token", 1, 200, `{"access_token":"a.b.c"}`}, "/token: answered 200 without refresh_token"},
		"gives an access token that is no JWT":        {lie{"/token", 1, 200, `{"access_token":"opaque","refresh_token":"lk_rt_"}`}, "the access token is no JWT"},
		"publishes no key":                            {lie{"/.well-known/jwks.json", 0, 200, `{"keys":[]}`}, "offline verification"},
		"gives a retry another refresh token":         {lie{"/token", 3, 200, `{"refresh_token":"lk_rt_another"}`}, "the retried refresh gave another refresh token"},
		"takes a replay":                              {lie{"/token", 7, 200, `{"refresh_token":"lk_rt_another"}`}, "/token: answered 200"},
		"calls an ended session active":               {lie{"/introspect", 1, 200, `{"active":true}`}, "/introspect: answered 200"},
		"calls a live session inactive":               {lie{"/introspect", 2, 200, `{"active":false}`}, "/introspect: answered 200"},
		"revokes nothing":                             {lie{"/revoke", 0, 503, `{"error":"temporarily_unavailable"}`}, "/revoke: answered 503"},
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			err := walkThrough(t.Context(), &said, lyingServer(t, c.lie))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("it says %v after\n%s", err, tail(said.String()))
			}
		})
	}
}

// lyingServer is a server of dev mode, but for one lie. It returns its issuer.
func lyingServer(t *testing.T, about lie) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c, err := devConfig(t.TempDir(), listener.Addr().String())
	must(t, err)
	issuer, err := demoIssuer(t.TempDir(), c.Issuer)
	must(t, err)
	c.Tenants, err = demoTenants(issuer)
	must(t, err)
	c.Tenants[0].SigningAlgorithm = "ES256" // RSA keys take their time
	n, err := newNode(t.Context(), c, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { n.store.Close() })
	truth, err := handlers.New(handlers.Config{Issuer: c.Issuer, OAuth: n.oauth, Ready: n.ready, Log: n.log, DevIssuer: issuer})
	must(t, err)
	seen := 0
	liar := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == about.path {
			if seen++; about.nth == 0 || about.nth == seen {
				w.WriteHeader(about.status)
				_, _ = w.Write([]byte(about.body)) // a client that is gone says so itself
				return
			}
		}
		truth.ServeHTTP(w, r)
	}))
	liar.Listener.Close()
	liar.Listener = listener
	liar.Start()
	t.Cleanup(liar.Close)
	return c.Issuer
}
