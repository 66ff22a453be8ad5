package models_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// wantSessions synchronizes the nodes and compares what each of them knows.
func (w *fixture) wantSessions(want float64, nodes ...*models.Store) {
	w.Helper()
	for range 2 { // the first node reads what the last one has written
		for i, node := range nodes {
			must(w, node.SyncSessionCounts(w.Context(), fmt.Sprint("node ", i)))
		}
	}
	for i, node := range nodes {
		if got, known := node.SessionCounts()[acme]; got != want || !known {
			w.Errorf("node %d knows of %v sessions (%t), want %v", i, got, known, want)
		}
		byClient := 0.0
		for of, n := range node.ClientSessionCounts() {
			if of.Tenant == acme {
				byClient += n
			}
		}
		if byClient != want {
			w.Errorf("node %d knows of %v sessions by client, want %v", i, node.ClientSessionCounts(), want)
		}
	}
}

// recount counts the table as a node does that has been running for long.
func (w *fixture) recount(node *models.Store) {
	w.Helper()
	w.clock.Advance(time.Hour + 10*time.Minute - time.Duration(w.Now().UnixNano())%time.Hour)
	must(w, node.RecountSessions(w.Context()))
}

func TestSessionsAreCountedWhenTheyBeginAndEnd(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		other := w.another(models.Options{})
		var rows []*models.Session
		for range 6 {
			rows = append(rows, w.create(w.alice()))
		}
		w.wantSessions(6, w.Store, other)
		for range 2 { // a session ends once
			must(t, other.EndSession(t.Context(), rows[0], w.Now(), session.SignedOut))
		}
		w.wantSessions(5, w.Store, other)
		if _, err := w.CreateSession(t.Context(), w.alice(), func(*models.Session) error { return errors.New("no signature") }); err == nil {
			t.Fatal("created")
		}
		w.wantSessions(5, w.Store, other)
		w.clock.Advance(2 * time.Hour) // they are idle for an hour
		w.wantSessions(5, w.Store, other)
		_, err := w.Prune(t.Context(), w.Now())
		must(t, err)
		w.wantSessions(0, w.Store, other)
		w.clock.Advance(session.Retention + time.Hour)
		_, err = other.Prune(t.Context(), w.Now()) // the rows go
		must(t, err)
		w.wantSessions(0, w.Store, other)
	})
}

func TestSessionsThatEndTogetherAreCounted(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for range 3 {
			w.create(w.alice())
		}
		bob := w.alice(func(n *models.NewSession) { n.Subject = "bob" })
		w.create(bob)
		spec := tenant()
		spec.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}}
		w.apply(spec)
		w.wantSessions(1, w.Store)
		w.clock.Advance(time.Second)
		spec.Clients[0].Disabled = true
		w.apply(spec)
		w.clock.Advance(time.Second)
		must(t, w.Sweep(t.Context()))
		w.wantSessions(0, w.Store)
		spec = tenant()
		w.apply(spec)
		w.clock.Advance(time.Minute)
		for range 2 {
			w.create(w.alice(func(n *models.NewSession) { n.Subject = "carol" }))
		}
		w.wantSessions(2, w.Store)
		_, err := w.Restored(t.Context(), w.Now(), false)
		must(t, err)
		w.wantSessions(0, w.Store)
	})
}

func TestARecountCorrectsTheLossOfANode(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		other := w.another(models.Options{})
		long := func(n *models.NewSession) {
			n.IdleExpiry = time.Time{}
			n.AbsoluteExpiry = w.Now().Add(100 * 24 * time.Hour)
		}
		w.create(w.alice(long))
		w.wantSessions(1, w.Store)
		_, err := other.CreateSession(t.Context(), w.alice(long), signs) // it dies before it writes
		must(t, err)
		w.wantSessions(1, w.Store)
		w.clock.Advance(24 * time.Hour)
		w.recount(w.Store)
		w.wantSessions(2, w.Store)

		// What happens beside a count is counted once: it is of the hour's beginning.
		w.clock.Advance(25 * time.Hour)
		after := w.create(w.alice(long))
		w.clock.Advance(time.Second)
		w.wantSessions(3, w.Store)
		w.recount(w.Store)
		w.wantSessions(3, w.Store)
		must(t, w.EndSession(t.Context(), after, w.Now(), session.SignedOut))
		w.create(w.alice(long))
		w.create(w.alice(long))
		w.wantSessions(4, w.Store)
	})
}

func TestChangesBetweenTheHourAndItsCountAreCountedOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		long := func(n *models.NewSession) {
			n.IdleExpiry = time.Time{}
			n.AbsoluteExpiry = w.Now().Add(100 * 24 * time.Hour)
		}
		before := w.create(w.alice(long))
		w.create(w.alice(long))
		w.clock.Advance(30*time.Hour + time.Second)
		w.create(w.alice(long))
		must(t, w.EndSession(t.Context(), before, w.Now(), session.SignedOut))
		w.clock.Advance(15 * time.Minute)
		must(t, w.RecountSessions(t.Context()))
		if n := w.number("SELECT sum(n) FROM session_counts WHERE tenant_id = ? AND node = ''", acme); n != 2 {
			t.Errorf("%d sessions were there at the beginning of the hour, want 2", n)
		}
		w.wantSessions(2, w.Store)
		must(t, w.RecountSessions(t.Context())) // it is not due
		w.wantSessions(2, w.Store)
	})
}

// A database of an earlier release has sessions that nobody counted.
func TestNoCountIsReportedForADatabaseThatWasNotCounted(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice(func(n *models.NewSession) { n.IdleExpiry = time.Time{} }))
		w.exec("DELETE FROM session_counts")
		w.clock.Advance(time.Second)
		node := w.another(models.Options{})
		must(t, node.SyncSessionCounts(t.Context(), "new"))
		if got := node.SessionCounts(); len(got) != 0 {
			t.Errorf("known: %v", got)
		}
		w.clock.Advance(15 * time.Minute)
		must(t, node.RecountSessions(t.Context())) // it was not there when the hour began
		must(t, node.SyncSessionCounts(t.Context(), "new"))
		if got := node.SessionCounts(); len(got) != 0 {
			t.Errorf("known after part of an hour: %v", got)
		}
		w.recount(node)
		w.wantSessions(1, node)
	})
}

func TestCountsThatCouldNotBeWrittenAreNotLost(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice())
		w.exec("ALTER TABLE session_counts RENAME TO away")
		if err := w.SyncSessionCounts(t.Context(), "a"); err == nil {
			t.Fatal("written to no table")
		}
		w.exec("ALTER TABLE away RENAME TO session_counts")
		w.wantSessions(1, w.Store)
	})
}

func TestSessionsAreCountedByClient(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		other := w.another(models.Options{})
		at := func(client string) func(*models.NewSession) {
			return func(n *models.NewSession) {
				n.ClientID, n.IdleExpiry, n.AbsoluteExpiry = client, time.Time{}, w.Now().Add(100*24*time.Hour)
			}
		}
		web := w.create(w.alice(at("web")))
		w.create(w.alice(at("web")))
		_, err := other.CreateSession(t.Context(), w.alice(at("shop")), signs)
		must(t, err)
		want := func(when string, web, shop float64) {
			t.Helper()
			w.wantSessions(web+shop, w.Store, other)
			if got := w.ClientSessionCounts(); got[models.ClientOf{Tenant: acme, Client: "web"}] != web || got[models.ClientOf{Tenant: acme, Client: "shop"}] != shop {
				t.Errorf("%s: %v, want %v and %v", when, got, web, shop)
			}
		}
		want("created", 2, 1)
		must(t, other.EndSession(t.Context(), web, w.Now(), session.SignedOut))
		want("one ended", 1, 1)
		w.clock.Advance(25 * time.Hour)
		w.recount(w.Store)
		want("counted again", 1, 1)
		spec := tenant()
		spec.Clients[0].Disabled = true
		w.apply(spec)
		w.clock.Advance(time.Second)
		must(t, w.Sweep(t.Context()))
		want("a client was disabled", 0, 1)
	})
}

// A release before the count by client has counted the table.
func TestADatabaseThatWasCountedByTenantIsCountedByClient(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice(func(n *models.NewSession) {
			n.IdleExpiry, n.AbsoluteExpiry = time.Time{}, w.Now().Add(100*24*time.Hour)
		}))
		w.wantSessions(1, w.Store)
		w.exec("DELETE FROM client_session_counts")
		must(t, w.SyncSessionCounts(t.Context(), "a"))
		if got := w.ClientSessionCounts(); len(got) > 0 || w.SessionCounts()[acme] != 1 {
			t.Errorf("known: %v and %v", got, w.SessionCounts())
		}
		w.clock.Advance(time.Hour)
		w.recount(w.Store)
		w.wantSessions(1, w.Store)
	})
}
