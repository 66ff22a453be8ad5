package handlers_test

import (
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

func TestExchangeTakesASubjectTokenOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url)
		other := testserver.NewIssuer(t, d.Clock)
		d.change(func(tenant *models.TenantSpec) {
			second := other.Entry()
			second.SubjectPrefix = "o:"
			tenant.TrustedIssuers = append(tenant.TrustedIssuers, second)
		})
		token := d.with(map[string]any{"jti": "the same"})
		first := d.takes(t, ofJWT, token)
		again := func(token string) {
			t.Helper()
			refusedSubject(t, d.present(ofJWT, token))
			if n := d.count("sessions"); n != 1 {
				t.Errorf("%d sessions", n)
			}
		}
		again(token)
		again(d.with(map[string]any{"jti": "the same", "sub": "bob"})) // another token, but its jti is spent
		if n := d.count("events WHERE type = 'client_token_replayed'"); n != 1 {
			t.Errorf("%d events tell of the replays, want one for both", n)
		}
		if a := d.Introspect("", first.Text("access_token")); a.JSON["active"] != true {
			t.Errorf("the first session did not stay: %s", a.Body)
		}
		d.Clock.Advance(85 * time.Second) // it expired, but within the leeway
		again(token)
		d.takes(t, ofJWT, other.Token(d.URL, "alice", map[string]any{"jti": "the same"})) // of another issuer
	})
}

// race presents one token from 32 goroutines and tells how many got a session.
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
		refusedSubject(t, a)
	}
	return sessions
}

func TestExchangeTakesASubjectTokenOnceAmongMany(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url)
		token := d.with(nil)
		if n := race(t, func(int) *testserver.Answer { return d.present(ofJWT, token) }); n != 1 || d.count("sessions") != 1 {
			t.Errorf("%d answered 200, %d sessions", n, d.count("sessions"))
		}
	})
}

func TestExchangeTakesASubjectTokenOnceOnTwoNodes(t *testing.T) {
	url := testdb.Postgres(t)
	d := newDesk(t, url)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second := *d
	second.Server = testserver.New(t, testserver.Options{DatabaseURL: url, Clock: d.Clock, Listener: listener, Issuer: d.URL})
	second.URL = "http://" + listener.Addr().String()
	nodes, token := []*desk{d, &second}, d.with(nil)
	n := race(t, func(i int) *testserver.Answer { return nodes[i%2].present(ofJWT, token) })
	if n != 1 || d.count("sessions") != 1 || d.count("spent_tokens") != 1 {
		t.Errorf("%d answered 200, %d sessions", n, d.count("sessions"))
	}
}

func TestASpentTokenStaysSpentWhenItsEntryGetsMoreLeeway(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		spec := testserver.Tenant("default", w.issuer, testserver.Web())
		none, most := models.Duration(0), models.Duration(models.MaxLeeway)
		spec.TrustedIssuers[0].Leeway = &none
		w.Apply(spec)
		token := w.issuer.Token(w.URL, "alice", nil)
		w.want(200, "", w.Exchange("", "web", token))
		w.Clock.Advance(3 * time.Minute)
		if _, err := w.Store.Prune(t.Context(), w.Clock.Now()); err != nil {
			t.Fatal(err)
		}
		spec.TrustedIssuers[0].Leeway = &most
		w.Apply(spec)
		w.want(400, "invalid_request", w.Exchange("", "web", token))
		if w.count("sessions") != 1 {
			t.Error("it was accepted again")
		}
	})
}
