package testwire

import (
	"strconv"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

// guess sends a wrong secret from an address that the proxy reports.
func guess(d *testserver.Deployment, client, from string) *testserver.Answer {
	return d.Post("/token", []string{"grant_type", "client_credentials"},
		testserver.Basic(client, "wrong"), testserver.Header("X-Forwarded-For", from))
}

// exhaust sends as many wrong secrets as are allowed without a delay.
func exhaust(d *testserver.Deployment, client, from string) {
	d.T.Helper()
	for range 10 {
		d.Want(401, "invalid_client", guess(d, client, from))
	}
}

func behindProxy(t *testing.T) testserver.Options {
	o := testserver.OnSQLite(t)
	o.Proxies = []string{"127.0.0.1"}
	return o
}

func TestWrongSecretsAreThrottled(t *testing.T) {
	d := testserver.NewDeployment(t, behindProxy(t))
	exhaust(d, "backend", "192.0.2.1")
	a := d.Want(429, "temporarily_unavailable", guess(d, "backend", "192.0.2.1"))
	wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 60 {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	if a.Header.Get("WWW-Authenticate") != "" {
		t.Error("a challenge would invite the next try")
	}
	d.Clock.Advance(time.Duration(wait) * time.Second)
	d.Want(401, "invalid_client", guess(d, "backend", "192.0.2.1"))
	d.Want(429, "temporarily_unavailable", guess(d, "backend", "192.0.2.1"))
	d.Clock.Advance(time.Hour)
	exhaust(d, "backend", "192.0.2.1")
}

func TestWrongSecretsAreThrottledAtEveryEndpoint(t *testing.T) {
	d := testserver.NewDeployment(t, behindProxy(t))
	exhaust(d, "backend", "127.0.0.1")
	wrong := testserver.Basic("backend", "wrong")
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		d.Want(429, "temporarily_unavailable", d.Post(path, []string{"token", "x", "grant_type", "refresh_token"}, wrong))
	}
	signed := d.Post("/introspect", []string{"token", "x"}, wrong, testserver.Header("Accept", "application/token-introspection+jwt"))
	d.Want(429, "temporarily_unavailable", signed)
	d.Want(429, "temporarily_unavailable", d.Post("/token", []string{"grant_type", "client_credentials", "client_id", "backend", "client_secret", "wrong"}))
}

func TestThrottlingLocksNobodyOut(t *testing.T) {
	d := testserver.NewDeployment(t, behindProxy(t))
	exhaust(d, "backend", "192.0.2.1")
	exhaust(d, "web-2", "192.0.2.1")
	d.Want(429, "temporarily_unavailable", guess(d, "backend", "192.0.2.1"))

	from := testserver.Header("X-Forwarded-For", "192.0.2.1")
	t.Run("a right secret passes", func(t *testing.T) {
		d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret), from))
	})
	t.Run("another address is counted apart", func(t *testing.T) {
		d.Want(401, "invalid_client", guess(d, "backend", "192.0.2.2"))
	})
	t.Run("another client is counted apart", func(t *testing.T) {
		d.Want(401, "invalid_client", guess(d, "other", "192.0.2.1"))
	})
	t.Run("a missing secret is no wrong one", func(t *testing.T) {
		for range 30 {
			d.Want(401, "invalid_client", d.Post("/token", []string{"grant_type", "client_credentials", "client_id", "backend"}, from))
		}
	})
	t.Run("a public client is not counted", func(t *testing.T) {
		for range 30 {
			d.Want(401, "invalid_client", guess(d, "web", "192.0.2.3"))
			d.Want(400, "invalid_grant", d.Refresh("", "web", "made-up"))
		}
	})
}

func TestThrottlingDoesNotRevealWhichClientsExist(t *testing.T) {
	d := testserver.NewDeployment(t, behindProxy(t))
	for range 15 {
		known, unknown := guess(d, "backend", "192.0.2.1"), guess(d, "nobody", "192.0.2.1")
		if known.Status != unknown.Status || string(known.Body) != string(unknown.Body) || known.Header.Get("Retry-After") != unknown.Header.Get("Retry-After") {
			t.Fatalf("%d %s, but %d %s", known.Status, known.Body, unknown.Status, unknown.Body)
		}
	}
}

func TestThrottlingCountsTheTrustedAddress(t *testing.T) {
	t.Run("a forwarded address from a stranger", func(t *testing.T) {
		d := testserver.NewDeployment(t, testserver.OnSQLite(t))
		for i := range 10 {
			d.Want(401, "invalid_client", guess(d, "backend", "192.0.2."+strconv.Itoa(i)))
		}
		d.Want(429, "temporarily_unavailable", guess(d, "backend", "192.0.2.99"))
	})
	t.Run("the lower half of an IPv6 address", func(t *testing.T) {
		d := testserver.NewDeployment(t, behindProxy(t))
		for i := range 10 {
			d.Want(401, "invalid_client", guess(d, "backend", "2001:db8:1:2::"+strconv.Itoa(i)))
		}
		d.Want(429, "temporarily_unavailable", guess(d, "backend", "2001:db8:1:2:ffff::1"))
		d.Want(401, "invalid_client", guess(d, "backend", "2001:db8:1:3::1"))
	})
}

func TestConcurrentWrongSecretsAreCountedOnce(t *testing.T) {
	d := testserver.NewDeployment(t, behindProxy(t))
	answered := 0
	for _, a := range testserver.InParallel(40, func(int) *testserver.Answer { return guess(d, "backend", "192.0.2.1") }) {
		if a.Status == 401 {
			answered++
		}
	}
	if answered != 10 {
		t.Errorf("%d responses, want 10", answered)
	}
}

// An empty secret counts as none (RFC 6749 §2.3.1), because some libraries send every
// client's id with Basic.
func TestAPublicClientMayUseBasic(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	refresh := []string{"grant_type", "refresh_token", "refresh_token", d.SignIn("alice").Text("refresh_token")}
	d.Want(401, "invalid_client", d.Post("/token", refresh, testserver.Basic("web", "any")))
	d.Want(200, "", d.Post("/token", refresh, testserver.Basic("web", "")))
	d.Want(401, "invalid_client", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", "")))
}
