package testevents

import (
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestRefusalsBecomeAFewEvents(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := deployed(t, url, r.webhook("hooks", only("client_token.refused", "client.authentication_failed")))
		refuse := func() {
			for range 5 {
				d.Want(400, "invalid_request", d.Exchange("", "web", "no token"))
				d.Want(400, "invalid_request", d.Exchange("", "web", d.Issuer.Token("https://elsewhere.example.com", "mallory", nil)))
				d.Want(401, "invalid_client", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", "wrong-secret-of-somebody-else")))
				d.Want(401, "invalid_client", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("nobody", "wrong-secret-of-somebody-else")))
			}
		}
		refuse()
		r.until(t, "one event for each cause", r.count(3))
		reasons := map[any]int{}
		for _, got := range r.all() {
			reasons[got.Data.Details["why"]]++
			if client := map[string]string{"client_token.refused": "web", "client.authentication_failed": "backend"}[got.Type]; got.Data.Client != client || got.Data.Details["ip"] == nil {
				t.Errorf("received %s", got.Body)
			}
		}
		if len(reasons) != 3 || reasons["subject_token_malformed"] != 1 || reasons["subject_token_audience"] != 1 || reasons["client_authentication_failed"] != 1 {
			t.Errorf("reasons: %v", reasons)
		}
		d.Clock.Advance(time.Minute)
		refuse()
		r.until(t, "the same again a minute later", r.count(6))
		d.SignIn("alice")
		time.Sleep(500 * time.Millisecond)
		if n := len(r.all()); n != 6 {
			t.Errorf("%d events", n)
		}
	})
}

func TestAFloodOfRefusalsWritesABoundedNumberOfEvents(t *testing.T) {
	t.Parallel()
	d := behindProxy(t, testdb.SQLite(t))
	written := func() (n int) {
		if err := testserver.OpenDatabase(t, d.DatabaseURL).QueryRow("SELECT count(*) FROM events WHERE type = 'client_token_refused'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 200 {
		d.Want(400, "invalid_request", d.exchangeFrom(fmt.Sprintf("198.51.%d.1", i), "curl/8", "no token"))
	}
	until(t, "the events are written", func() bool { return written() >= 60 })
	time.Sleep(300 * time.Millisecond)
	if n := written(); n != 60 {
		t.Errorf("%d events", n)
	}
}

func TestASessionFromANewDeviceIsAnEvent(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := behindProxy(t, url)
		configure(d.Deployment, r.webhook("hooks", only("session.new_device")))
		from := func(ip, agent string) {
			d.Want(200, "", d.exchangeFrom(ip, agent, d.Issuer.Token(d.URL, "alice", nil)))
			d.Clock.Advance(time.Second)
		}
		from("198.51.100.1", "Mozilla/5.0 (X11) Firefox/140.0") // the first of all
		from("198.51.100.9", "Mozilla/5.0 (Mac) Safari/18.0")   // the same network
		from("203.0.113.5", "Mozilla/5.0 (X11) Firefox/141.0")  // the same product
		from("192.0.2.77", "CompanyApp/1.0")
		r.until(t, "the last one", r.count(1))
		time.Sleep(500 * time.Millisecond)
		if got := r.all(); len(got) != 1 || got[0].Data.User != "alice" || got[0].Data.Details["ip"] != "192.0.2.77" || got[0].Data.Session == "" {
			t.Errorf("received %d: %s", len(got), got[0].Body)
		}
	})
}

// proxied is a deployment behind a proxy, which names the addresses of callers.
type proxied struct{ *testserver.Deployment }

func behindProxy(t *testing.T, url string) proxied {
	t.Helper()
	return proxied{testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Run: true, Proxies: []string{"127.0.0.1"}})}
}

func (d proxied) exchangeFrom(ip, agent, token string) *testserver.Answer {
	d.T.Helper()
	return d.Post("/token", []string{
		"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", token,
	}, testserver.Header("X-Forwarded-For", ip), testserver.Header("User-Agent", agent))
}
