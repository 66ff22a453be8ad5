package handlers_test

import (
	"net/http"
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
