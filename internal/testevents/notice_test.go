package testevents

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
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
		d.Clock.Advance(time.Minute)
		d.Want(400, "invalid_request", d.Exchange("", "web", "no token")) // is written after those before
		r.until(t, "the last one", r.count(7))
		untilDone(d, "hooks")
		if n := len(r.all()); n != 7 {
			t.Errorf("%d events", n)
		}
	})
}

// The event contains what was compared, and no claim about the person who was refused.
func TestARefusedTokenIsRecordedWithItsChecks(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := deployed(t, url, r.webhook("hooks", only("client_token.refused")))
		tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		tenant.Clients[0].Allow = "token.sub != 'mallory@personal.example'"
		tenant.EventDestinations = []settings.DestinationSpec{r.webhook("hooks", only("client_token.refused"))}
		tenant.Users = []settings.UserSpec{{Sub: "disabled@personal.example", Disabled: true}}
		d.Apply(tenant)
		secret := map[string]any{"email": "secretive@personal.example"}
		token := func(sub string, change map[string]any) string {
			maps.Copy(change, secret)
			return d.Issuer.Token(d.URL, sub, change)
		}
		long := "https://" + strings.Repeat("long.", 600) + "example"
		for _, c := range []struct {
			token, reason, check, expected, received string
			made                                     int
		}{
			{"no token", "subject_token_malformed", "format", "", "", 2},
			{token("a@personal.example", map[string]any{"aud": "https://elsewhere.example.com"}), "subject_token_audience", "audience", d.URL, "https://elsewhere.example.com", 4},
			{token("a@personal.example", map[string]any{"exp": d.Clock.Now().Unix() - 60, "iat": d.Clock.Now().Unix() - 90}), "subject_token_expired", "times", "after ", "T", 7},
			{token("a@personal.example", map[string]any{"iss": long}), "subject_token_issuer", "issuer", d.Issuer.URL, "https://", 3},
			{token("\u00e9@personal.example", map[string]any{}), "subject_token_subject", "subject", "", "", 12},
			{token("mallory@personal.example", map[string]any{}), "policy_denied", "allow", "", "", 13},
			{token("disabled@personal.example", map[string]any{}), "user_disabled", "user", "", "", 19},
		} {
			d.Want(400, "invalid_request", d.Exchange("", "web", c.token))
			var got received
			r.until(t, "the event "+c.reason, func(all []received) bool {
				for _, got = range all {
					if got.Data.Details["why"] == c.reason {
						return true
					}
				}
				return false
			})
			checks, _ := got.Data.Details["checks"].([]any)
			if len(checks) != c.made {
				t.Errorf("%s: %d checks: %s", c.reason, len(checks), got.Body)
				continue
			}
			for _, check := range checks[:c.made-1] {
				if check := check.(map[string]any); check["outcome"] != "passed" || len(check) != 2 {
					t.Errorf("%s: the check %v", c.reason, check)
				}
			}
			last := checks[c.made-1].(map[string]any)
			expected, _ := last["expected"].(string)
			received, _ := last["received"].(string)
			if last["name"] != c.check || last["outcome"] != "failed" || last["detail"] == "" || !strings.HasPrefix(expected, c.expected) || !strings.Contains(received, c.received) {
				t.Errorf("%s: the last check is %v", c.reason, last)
			}
			if (expected == "") != (c.expected == "") || strings.Contains(string(got.Body), "personal.example") || len(got.Body) > 2560 {
				t.Errorf("%s: the event has %d bytes: %s", c.reason, len(got.Body), got.Body)
			}
		}
	})
}

func TestAFloodOfRefusalsWritesABoundedNumberOfEvents(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := behindProxy(t, url)
		written := func() (n int) {
			if err := testserver.OpenDatabase(t, d.DatabaseURL).QueryRow("SELECT count(*) FROM events WHERE type = 'client_token_refused'").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for i := range 200 {
			d.Want(400, "invalid_request", d.exchangeFrom(fmt.Sprintf("198.51.%d.1", i), "curl/8", "no token"))
		}
		d.Clock.Advance(time.Minute)
		d.Want(400, "invalid_request", d.exchangeFrom("198.51.100.1", "curl/8", "no token")) // is written after those before
		until(t, "the last event is written", func() bool { return written() >= 61 })
		if n := written(); n != 61 {
			t.Errorf("%d events", n)
		}
	})
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
		untilDone(d.Deployment, "hooks") // the node has looked at the sign-ins in order
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
