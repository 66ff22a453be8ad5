package handlers_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

// guess sends a wrong secret by way of an address that the proxy reports.
func (w *world) guess(client, from string) *testserver.Answer {
	return w.Post("/token", []string{"grant_type", "client_credentials"},
		testserver.Basic(client, "wrong"), testserver.Header("X-Forwarded-For", from))
}

// exhaust sends the wrong secrets that are answered without a wait.
func (w *world) exhaust(client, from string) {
	w.t.Helper()
	for range 10 {
		w.want(401, "invalid_client", w.guess(client, from))
	}
}

func behindProxy(t *testing.T) testserver.Options {
	o := sqlite(t)
	o.Proxies = []string{"127.0.0.1"}
	return o
}

func TestWrongSecretsAreThrottled(t *testing.T) {
	w := newWorld(t, behindProxy(t))
	w.exhaust("backend", "192.0.2.1")
	a := w.want(429, "temporarily_unavailable", w.guess("backend", "192.0.2.1"))
	wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 60 {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	if a.Header.Get("WWW-Authenticate") != "" {
		t.Error("a challenge would invite the next try")
	}
	w.Clock.Advance(time.Duration(wait) * time.Second)
	w.want(401, "invalid_client", w.guess("backend", "192.0.2.1"))
	w.want(429, "temporarily_unavailable", w.guess("backend", "192.0.2.1"))
	w.Clock.Advance(time.Hour)
	w.exhaust("backend", "192.0.2.1")
}

func TestWrongSecretsAreThrottledAtEveryEndpoint(t *testing.T) {
	w := newWorld(t, behindProxy(t))
	w.exhaust("backend", "127.0.0.1")
	wrong := testserver.Basic("backend", "wrong")
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		w.want(429, "temporarily_unavailable", w.Post(path, []string{"token", "x", "grant_type", "refresh_token"}, wrong))
	}
	signed := w.Post("/introspect", []string{"token", "x"}, wrong, testserver.Header("Accept", "application/token-introspection+jwt"))
	w.want(429, "temporarily_unavailable", signed)
	w.want(429, "temporarily_unavailable", w.Post("/token", []string{"grant_type", "client_credentials", "client_id", "backend", "client_secret", "wrong"}))
}

func TestThrottlingLocksNobodyOut(t *testing.T) {
	w := newWorld(t, behindProxy(t))
	w.exhaust("backend", "192.0.2.1")
	w.exhaust("web-2", "192.0.2.1")
	w.want(429, "temporarily_unavailable", w.guess("backend", "192.0.2.1"))

	from := testserver.Header("X-Forwarded-For", "192.0.2.1")
	t.Run("a right secret passes", func(t *testing.T) {
		w.want(200, "", w.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret), from))
	})
	t.Run("another address is counted apart", func(t *testing.T) {
		w.want(401, "invalid_client", w.guess("backend", "192.0.2.2"))
	})
	t.Run("another client is counted apart", func(t *testing.T) {
		w.want(401, "invalid_client", w.guess("other", "192.0.2.1"))
	})
	t.Run("a missing secret is no wrong one", func(t *testing.T) {
		for range 30 {
			w.want(401, "invalid_client", w.Post("/token", []string{"grant_type", "client_credentials", "client_id", "backend"}, from))
		}
	})
	t.Run("a public client is not counted", func(t *testing.T) {
		for range 30 {
			w.want(401, "invalid_client", w.guess("web", "192.0.2.3"))
			w.want(400, "invalid_grant", w.Refresh("", "web", "made-up"))
		}
	})
}

func TestThrottlingDoesNotTellWhichClientsExist(t *testing.T) {
	w := newWorld(t, behindProxy(t))
	for range 15 {
		known, unknown := w.guess("backend", "192.0.2.1"), w.guess("nobody", "192.0.2.1")
		if known.Status != unknown.Status || string(known.Body) != string(unknown.Body) || known.Header.Get("Retry-After") != unknown.Header.Get("Retry-After") {
			t.Fatalf("%d %s, but %d %s", known.Status, known.Body, unknown.Status, unknown.Body)
		}
	}
}

func TestThrottlingCountsTheAddressThatCannotBeMadeUp(t *testing.T) {
	t.Run("a forwarded address from a stranger", func(t *testing.T) {
		w := newWorld(t, sqlite(t))
		for i := range 10 {
			w.want(401, "invalid_client", w.guess("backend", "192.0.2."+strconv.Itoa(i)))
		}
		w.want(429, "temporarily_unavailable", w.guess("backend", "192.0.2.99"))
	})
	t.Run("the lower half of an IPv6 address", func(t *testing.T) {
		w := newWorld(t, behindProxy(t))
		for i := range 10 {
			w.want(401, "invalid_client", w.guess("backend", "2001:db8:1:2::"+strconv.Itoa(i)))
		}
		w.want(429, "temporarily_unavailable", w.guess("backend", "2001:db8:1:2:ffff::1"))
		w.want(401, "invalid_client", w.guess("backend", "2001:db8:1:3::1"))
	})
}

func TestWrongSecretsAtOnceAreCountedOnce(t *testing.T) {
	w := newWorld(t, behindProxy(t))
	answered := 0
	for _, a := range inParallel(40, func(int) *testserver.Answer { return w.guess("backend", "192.0.2.1") }) {
		if a.Status == 401 {
			answered++
		}
	}
	if answered != 10 {
		t.Errorf("%d answered, want 10", answered)
	}
}

// An empty secret is none (RFC 6749 §2.3.1): some libraries send every client's
// id by Basic.
func TestAPublicClientMayNameItselfByBasic(t *testing.T) {
	w := newWorld(t, sqlite(t))
	refresh := []string{"grant_type", "refresh_token", "refresh_token", w.signIn("alice").Text("refresh_token")}
	w.want(401, "invalid_client", w.Post("/token", refresh, testserver.Basic("web", "any")))
	w.want(200, "", w.Post("/token", refresh, testserver.Basic("web", "")))
	w.want(401, "invalid_client", w.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", "")))
}
