package testevents

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestAWebhookTellsOfASessionFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := deployed(t, url, r.webhook("hooks", only("session.")))
		in := d.SignIn("alice")
		d.Clock.Advance(time.Second)
		d.Post("/revoke", []string{"client_id", "web", "token", in.Text("refresh_token")})
		all := r.until(t, "two events", r.count(2))
		for _, got := range all {
			if got.Verified != nil {
				t.Errorf("%s: %v", got.Body, got.Verified)
			}
			if got.Data.Tenant != "default" || got.Data.Client != "web" || got.Data.Issuer == "" || got.ID != got.Data.ID {
				t.Errorf("webhook %s: %s", got.ID, got.Body)
			}
		}
		var alice []received
		for _, got := range all {
			if got.Data.User == "alice" {
				alice = append(alice, got)
			}
		}
		if len(alice) != 2 || alice[0].Type != "session.created" || alice[1].Type != "session.ended.signed_out" {
			t.Fatalf("events of alice: %v", types(alice))
		}
		if alice[0].Data.Session == "" || alice[0].Data.Session != alice[1].Data.Session || alice[0].Data.Sequence >= alice[1].Data.Sequence {
			t.Errorf("events of one session: %s, %s", alice[0].Body, alice[1].Body)
		}
	})
}

func TestADestinationGetsOnlyTheEventsItNames(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	d := deployed(t, testdb.SQLite(t), r.webhook("hooks", only("session.ended.")))
	in := d.SignIn("alice")
	d.Post("/revoke", []string{"client_id", "web", "token", in.Text("refresh_token")})
	all := r.until(t, "the end", r.count(1))
	if len(all) != 1 || all[0].Type != "session.ended.signed_out" {
		t.Errorf("received %v", types(all))
	}
}
