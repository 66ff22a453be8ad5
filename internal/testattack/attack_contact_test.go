package testattack

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

// Lost contact with the database reopens the retry window of every session of the node.
// Anybody with an account can make many requests wait for the database, and cancel all
// of them together.
func TestCanceledRequestsDoNotReopenRetryWindows(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.SignIn("alice")
		before := d.Store.ContactSince()
		d.Clock.Advance(time.Minute)
		release := holdDatabase(t, d.DatabaseURL)
		attack, giveUp := context.WithCancel(t.Context())
		var attackers sync.WaitGroup
		for range 50 {
			form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {"web"},
				"subject_token":      {d.Issuer.Token(d.URL, "mallory", nil)},
				"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}}
			r := httptest.NewRequestWithContext(attack, http.MethodPost, "/token", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Host = strings.TrimPrefix(d.URL, "http://")
			attackers.Go(func() { d.Handler.ServeHTTP(httptest.NewRecorder(), r) })
		}
		time.Sleep(300 * time.Millisecond) // by now most of them wait for the database
		d.Clock.Advance(1100 * time.Millisecond)
		giveUp()
		attackers.Wait()
		release()
		d.SignIn("alice")
		if since := d.Store.ContactSince(); !since.Equal(before) {
			t.Errorf("contact began again %v later", since.Sub(before))
		}
		if log := d.Log.String(); strings.Contains(log, "is lost") {
			t.Error("the log reports lost contact")
		}
	})
}

// holdDatabase makes every write wait until release is called.
func holdDatabase(t *testing.T, database string) (release func()) {
	t.Helper()
	conn, err := testserver.OpenDatabase(t, database).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	execute := func(statement string) {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Error(err)
		}
	}
	if strings.HasPrefix(database, "sqlite:") {
		execute("BEGIN IMMEDIATE")
	} else {
		execute("BEGIN")
		execute("LOCK TABLE spent_tokens IN EXCLUSIVE MODE")
	}
	return func() {
		execute("COMMIT")
		_ = conn.Close()
	}
}
