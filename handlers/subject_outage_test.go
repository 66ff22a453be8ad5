package handlers_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

func TestExchangeWaitsForAnIssuerThatIsDown(t *testing.T) {
	d, p := newDesk(t, testdb.SQLite(t)), newProvider(t)
	d.change(trusting(p.entry(models.IssuerKeys{Discovery: true})))
	es := signers()[2]
	unavailable := func(token string) {
		t.Helper()
		before := d.written()
		a := d.present(ofJWT, token)
		if a.Status != http.StatusServiceUnavailable || a.Error() != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" || d.written() != before {
			t.Errorf("answered %d %s, Retry-After %q", a.Status, a.Body, a.Header.Get("Retry-After"))
		}
	}
	p.set(func() { p.down = true })
	token := p.token(d, es, es.alg, nil)
	unavailable(token)
	unavailable(token)             // at once, without asking again
	d.takes(t, ofJWT, d.with(nil)) // another issuer's
	p.set(func() { p.down = false })
	d.Clock.Advance(5 * time.Second)
	d.takes(t, ofJWT, token)

	p.set(func() { p.down = true })
	d.Clock.Advance(59 * time.Minute)
	d.takes(t, ofJWT, p.token(d, es, es.alg, nil)) // with the last good keys
	unavailable(p.token(d, es, "a new key", nil))  // which the issuer may have made meanwhile
	d.Clock.Advance(time.Minute)
	unavailable(p.token(d, es, es.alg, nil))
}

func TestExchangeDoesNotWaitForAnotherIssuer(t *testing.T) {
	d, p := newDesk(t, testdb.SQLite(t)), newProvider(t)
	d.change(trusting(p.entry(models.IssuerKeys{JWKSURI: p.url + "/keys"})))
	release := make(chan struct{})
	p.set(func() { p.hangs = release })
	answer, token := make(chan *testserver.Answer, 1), p.token(d, signers()[2], "ES256", nil)
	go func() { answer <- d.present(ofJWT, token) }()
	<-p.asked
	d.takes(t, ofJWT, d.with(nil))
	if len(answer) != 0 {
		t.Error("the issuer did not hang")
	}
	close(release)
	if a := <-answer; a.Status != http.StatusOK {
		t.Errorf("answered %d %s", a.Status, a.Body)
	}
}

func TestExchangeFetchesNothingFromPrivateAddresses(t *testing.T) {
	reached := make(chan net.Addr, 100)
	inside := httptest.NewUnstartedServer(http.NotFoundHandler())
	inside.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			reached <- conn.LocalAddr()
		}
	}
	inside.StartTLS()
	t.Cleanup(inside.Close)
	port := inside.URL[strings.LastIndex(inside.URL, ":"):]
	d, p := newDesk(t, testdb.SQLite(t)), newProvider(t)
	for i, host := range []string{"localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "0.0.0.0"} {
		entry := p.entry(models.IssuerKeys{JWKSURI: fmt.Sprintf("https://%s%s/keys", host, port)})
		entry.AllowPrivateAddresses, entry.Issuer, entry.SubjectPrefix = false, fmt.Sprintf("https://issuer-%d.example.com", i), fmt.Sprintf("%d:", i)
		d.change(trusting(entry))
		a := d.present(ofJWT, p.token(d, signers()[2], "ES256", map[string]any{"iss": entry.Issuer}))
		if a.Status != http.StatusServiceUnavailable || strings.Contains(string(a.Body), port) {
			t.Errorf("%s: answered %d %s", host, a.Status, a.Body)
		}
		if host == "localhost" && (strings.Contains(d.Log.String(), "127.0.0.1"+port) || strings.Contains(d.Log.String(), "[::1]"+port)) {
			t.Error("the log tells where the name led to")
		}
	}
	if len(reached) > 0 {
		t.Errorf("%v was reached", <-reached)
	}
}
