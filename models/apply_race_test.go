package models_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// newPostgresFixture is for what only happens when transactions run concurrently.
func newPostgresFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixture(t, testdb.Postgres(t))
}

// together runs fn n times concurrently.
func together(times int, fn func(i int)) {
	var ready, done sync.WaitGroup
	ready.Add(times)
	for i := range times {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			fn(i)
		})
	}
	done.Wait()
}

// applied returns the changes that many nodes with the same file report when they
// start together.
func (w *fixture) applied(spec settings.TenantSpec) int64 {
	nodes := []*models.Store{w.Store, w.another(models.Options{})}
	var changes atomic.Int64
	together(8, func(i int) {
		changed, err := nodes[i%2].Apply(w.Context(), []settings.TenantSpec{spec}, secrets{}, models.ApplyOptions{Replace: true})
		if err != nil {
			w.Error(err)
		}
		changes.Add(int64(len(changed)))
	})
	return changes.Load()
}

func TestApplyFromManyNodesCreatesATenantOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before := w.rows()
		spec := tenant()
		spec.ID = "fresh"
		if n := w.applied(spec); n != 4 {
			t.Errorf("eight applies report %d changes, want 4 once", n)
		}
		before["tenants"]++
		before["clients"] += 2
		before["trusted_issuers"]++
		w.wantRows(before)
	})
}

func TestApplyFromManyNodesChangesATenantOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before := w.rows()
		for round := range 4 {
			id := fmt.Sprint(round)
			if n := w.applied(settings.TenantSpec{
				ID:             acme,
				Clients:        []settings.ClientSpec{{ID: "client-" + id, ClientSettings: settings.ClientSettings{Auth: settings.AuthNone}}},
				TrustedIssuers: []settings.IssuerSpec{entry("https://"+id+".example.com", id)},
				Users:          []settings.UserSpec{{Sub: "user-" + id}},
			}); n != 3 {
				t.Errorf("eight applies report %d changes, want 3 once", n)
			}
			before["clients"]++
			before["trusted_issuers"]++
			before["users"]++
			w.wantRows(before)
		}
	})
}

// A revision that is used twice hides a change from the nodes.
func TestEveryChangeOfATenantHasItsOwnRevision(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before := w.revision(acme)
		var changes atomic.Int64
		together(16, func(i int) {
			if i%2 == 0 {
				if err := w.add(signingKey(fmt.Sprint(i), "RS256", start)); err != nil {
					t.Error(err)
				}
				changes.Add(1)
				return
			}
			spec := settings.TenantSpec{ID: acme, SigningAlgorithm: []string{"RS256", "ES256"}[i/2%2]}
			changed, err := w.Apply(t.Context(), []settings.TenantSpec{spec}, secrets{}, models.ApplyOptions{Replace: true})
			if err != nil {
				t.Error(err)
			}
			changes.Add(int64(len(changed)))
		})
		if got, want := w.revision(acme)-before, changes.Load(); got != want {
			t.Errorf("the revision moved by %d in %d changes", got, want)
		}
	})
}

// A user that an exchange creates while a file disables them stays disabled.
func TestDisablingWinsAgainstAFirstSignIn(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		node := w.another(models.Options{})
		applied := make(chan error, 1)
		var id models.SessionID
		_, err := w.CreateSession(t.Context(), w.alice(), func(created *models.Session) error {
			id = created.ID
			go func() {
				_, err := node.Apply(t.Context(), []settings.TenantSpec{{ID: acme, Users: []settings.UserSpec{{Sub: "alice", Disabled: true}}}}, secrets{}, models.ApplyOptions{Replace: true})
				applied <- err
			}()
			w.waitForALock()
			return nil
		})
		must(t, err)
		must(t, <-applied)
		alice, err := w.User(t.Context(), acme, "alice")
		must(t, err)
		if row := w.read(id); !alice.Disabled || row.EndReason != session.UserDisabled {
			t.Errorf("the user is disabled: %v; their session ended: %q", alice.Disabled, row.EndReason)
		}
		if _, err := w.CreateSession(t.Context(), w.alice(), signs); !errors.Is(err, models.ErrUserDisabled) {
			t.Errorf("the next exchange returned %v", err)
		}
	})
}

// waitForALock returns when a transaction waits for another. On SQLite, no second
// transaction can wait inside the database.
func (w *fixture) waitForALock() {
	for w.Dialect() == "postgres" && w.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 0 {
		if w.Context().Err() != nil {
			w.Fatal("nobody waits for a lock")
		}
		time.Sleep(time.Millisecond)
	}
}
