package testwire

import (
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestExchangeAcceptsASubjectTokenOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := testserver.NewExchanger(t, url)
		other := testserver.NewIssuer(t, d.Clock)
		d.Reconfigure(func(tenant *settings.TenantSpec) {
			second := other.Entry()
			second.SubjectPrefix = "o:"
			tenant.TrustedIssuers = append(tenant.TrustedIssuers, second)
		})
		token := d.TokenWith(map[string]any{"jti": "the same"})
		first := d.WantAccepted(t, testserver.TypeJWT, token)
		again := func(token string) {
			t.Helper()
			testserver.WantSubjectRejected(t, d.Present(testserver.TypeJWT, token))
			if n := d.Count("sessions"); n != 1 {
				t.Errorf("%d sessions", n)
			}
		}
		again(token)
		again(d.TokenWith(map[string]any{"jti": "the same", "sub": "bob"})) // another token with a used jti
		if n := d.Count("events WHERE type = 'client_token_replayed'"); n != 1 {
			t.Errorf("%d events for the replays, want one for both", n)
		}
		if a := d.Introspect("", first.Text("access_token")); a.JSON["active"] != true {
			t.Errorf("the first session did not stay: %s", a.Body)
		}
		d.Clock.Advance(85 * time.Second) // it expired, but within the leeway
		again(token)
		d.WantAccepted(t, testserver.TypeJWT, other.Token(d.URL, "alice", map[string]any{"jti": "the same"})) // from another issuer
	})
}

// race presents one token in 32 goroutines and returns how many got a session.
func race(t *testing.T, present func(i int) *testserver.Answer) (sessions int) {
	t.Helper()
	var start, done sync.WaitGroup
	answers := make([]*testserver.Answer, 32)
	start.Add(1)
	for i := range answers {
		done.Go(func() {
			start.Wait()
			answers[i] = present(i)
		})
	}
	start.Done()
	done.Wait()
	for _, a := range answers {
		if a.Status == http.StatusOK {
			sessions++
			continue
		}
		testserver.WantSubjectRejected(t, a)
	}
	return sessions
}

func TestConcurrentExchangesAcceptASubjectTokenOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := testserver.NewExchanger(t, url)
		token := d.TokenWith(nil)
		if n := race(t, func(int) *testserver.Answer { return d.Present(testserver.TypeJWT, token) }); n != 1 || d.Count("sessions") != 1 {
			t.Errorf("%d responses 200, %d sessions", n, d.Count("sessions"))
		}
	})
}

func TestExchangeAcceptsASubjectTokenOnceOnTwoNodes(t *testing.T) {
	url := testdb.Postgres(t)
	d := testserver.NewExchanger(t, url)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second := *d
	second.Server = testserver.New(t, testserver.Options{DatabaseURL: url, Clock: d.Clock, Listener: listener, Issuer: d.URL})
	second.URL = "http://" + listener.Addr().String()
	nodes, token := []*testserver.Exchanger{d, &second}, d.TokenWith(nil)
	n := race(t, func(i int) *testserver.Answer { return nodes[i%2].Present(testserver.TypeJWT, token) })
	if n != 1 || d.Count("sessions") != 1 || d.Count("spent_tokens") != 1 {
		t.Errorf("%d responses 200, %d sessions", n, d.Count("sessions"))
	}
}

func TestASpentTokenStaysSpentWhenItsEntryGetsMoreLeeway(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		spec := testserver.Tenant("default", d.Issuer, testserver.Web())
		none, most := settings.Duration(0), settings.Duration(settings.MaxLeeway)
		spec.TrustedIssuers[0].Leeway = &none
		d.Apply(spec)
		token := d.Issuer.Token(d.URL, "alice", nil)
		d.Want(200, "", d.Exchange("", "web", token))
		d.Clock.Advance(3 * time.Minute)
		if _, err := d.Store.Prune(t.Context(), d.Clock.Now()); err != nil {
			t.Fatal(err)
		}
		spec.TrustedIssuers[0].Leeway = &most
		d.Apply(spec)
		d.Want(400, "invalid_request", d.Exchange("", "web", token))
		if count(d, "sessions") != 1 {
			t.Error("it was accepted again")
		}
	})
}
