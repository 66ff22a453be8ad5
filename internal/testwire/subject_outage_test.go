package testwire

import (
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestExchangeReturns503WhileAnIssuerIsUnreachable(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	d.Reconfigure(testserver.Trusting(p.Entry(settings.IssuerKeys{Discovery: true})))
	es := testserver.Signers()[2]
	unavailable := func(token string) {
		t.Helper()
		before := d.Written()
		a := d.Present(testserver.TypeJWT, token)
		if a.Status != http.StatusServiceUnavailable || a.Error() != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" || d.Written() != before {
			t.Errorf("status %d %s, Retry-After %q", a.Status, a.Body, a.Header.Get("Retry-After"))
		}
	}
	p.Update(func() { p.Down = true })
	token := p.Token(d, es, es.Algorithm, nil)
	unavailable(token)
	unavailable(token)                                      // at once, without another fetch
	d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(nil)) // another issuer's
	p.Update(func() { p.Down = false })
	d.Clock.Advance(5 * time.Second)
	d.WantAccepted(t, testserver.TypeJWT, token)

	p.Update(func() { p.Down = true })
	d.Clock.Advance(59 * time.Minute)
	d.WantAccepted(t, testserver.TypeJWT, p.Token(d, es, es.Algorithm, nil)) // with the last good keys
	unavailable(p.Token(d, es, "a new key", nil))                            // which the issuer may have created since
	d.Clock.Advance(time.Minute)
	unavailable(p.Token(d, es, es.Algorithm, nil))
}

func TestAnUnreachableIssuerDelaysNoOther(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	d.Reconfigure(testserver.Trusting(p.Entry(settings.IssuerKeys{JWKSURI: p.URL + "/keys"})))
	release := make(chan struct{})
	p.Update(func() { p.Hang = release })
	answer, token := make(chan *testserver.Answer, 1), p.Token(d, testserver.Signers()[2], "ES256", nil)
	go func() { answer <- d.Present(testserver.TypeJWT, token) }()
	<-p.Requests
	d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(nil))
	if len(answer) != 0 {
		t.Error("the issuer did not hang")
	}
	close(release)
	if a := <-answer; a.Status != http.StatusOK {
		t.Errorf("status %d %s", a.Status, a.Body)
	}
}
