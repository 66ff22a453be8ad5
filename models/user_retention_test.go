package models_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

const (
	day = 24 * time.Hour

	// After retained a user who was seen once is deleted, and not before: the
	// moment that is stored may be two weeks too old.
	retained = 90*day + 14*day
)

// retainUsers sets the user_retention of the tenant.
func (w *fixture) retainUsers(retention string, change ...func(*settings.TenantSpec)) {
	w.Helper()
	spec := tenant()
	spec.UserRetention = duration(retention)
	for _, f := range change {
		f(&spec)
	}
	w.apply(spec)
}

// deleteUnseen runs maintenance once and returns how many users were deleted.
func (w *fixture) deleteUnseen() int {
	w.Helper()
	w.prune()
	n, err := w.DeleteUnseenUsers(w.Context())
	must(w, err)
	return n
}

func (w *fixture) signIn(sub string, change ...func(*models.NewSession)) *models.Session {
	w.Helper()
	return w.create(w.alice(append(change, func(n *models.NewSession) { n.Subject = sub })...))
}

func (w *fixture) isThere(sub string) bool {
	w.Helper()
	return w.number("SELECT count(*) FROM users WHERE sub = ?", sub) == 1
}

func TestUsersWhoDoNotSignInAreDeletedAfterTheRetention(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.retainUsers("90d")
		w.signIn("alice", func(n *models.NewSession) {
			n.Mapped = mapped(map[string]any{"email": "alice@example.com"})
			n.RecordCreation = map[string]any{"ip": "198.51.100.77"}
		})
		elsewhere := w.alice(func(n *models.NewSession) { n.Subject = "bob" })
		elsewhere.TenantID, elsewhere.ClientID, elsewhere.IssuerID = w.neighbour() // which has no retention
		w.create(elsewhere)
		w.clock.Advance(retained)
		if n := w.deleteUnseen(); n != 0 {
			t.Errorf("%d users were deleted before the retention was over", n)
		}
		w.clock.Advance(time.Microsecond)
		must(t, w.AddEvent(t.Context(), models.Event{At: w.Now(), TenantID: acme, Type: models.EventStepUpRefused, Subject: "carol", Details: map[string]any{"sub": "alice"}}))
		if n := w.deleteUnseen(); n != 1 || w.isThere("alice") || !w.isThere("bob") {
			t.Errorf("%d users were deleted, want alice", n)
		}
		if n := w.number(`SELECT count(*) FROM events WHERE type = 'user_deleted' AND subject LIKE 'deleted-%' AND details = '{"reason":"user_retention"}'`); n != 1 {
			t.Errorf("%d events tell of the deletion and its reason", n)
		}
		w.clock.Advance(time.Hour)
		must(t, w.FinishDeletions(t.Context()))
		if n := w.traces("alice") + w.number("SELECT count(*) FROM user_deletions"); n != 0 {
			t.Errorf("alice is still in %d rows", n)
		}
		if n := w.deleteUnseen(); n != 0 {
			t.Errorf("then %d more users were deleted", n)
		}
	})
}

func TestUsersAreKeptForeverByDefault(t *testing.T) {
	for _, retention := range []string{"", "none"} {
		t.Run(retention, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				if retention != "" {
					w.retainUsers("90d")
					w.retainUsers(retention)
				}
				w.signIn("alice")
				w.clock.Advance(20_000 * day)
				if n := w.deleteUnseen(); n != 0 {
					t.Errorf("%d users were deleted", n)
				}
			})
		})
	}
}

// A session that is used for a year keeps its user, whose retention begins when
// it ends.
func TestASessionKeepsItsUserUntilTheRetentionAfterItsEnd(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.retainUsers("90d")
		row := w.signIn("alice", func(n *models.NewSession) { n.AbsoluteExpiry, n.IdleExpiry = w.Now().Add(430*day), time.Time{} })
		for w.Now().Before(row.AbsoluteExpiry) {
			w.clock.Advance(25 * day)
			if n := w.deleteUnseen(); n != 0 {
				t.Fatalf("the user was deleted %v after the sign-in, with a session", w.Now().Sub(start))
			}
		}
		for w.isThere("alice") && w.Now().Before(start.Add(1000*day)) {
			w.clock.Advance(day)
			w.deleteUnseen()
		}
		if kept := w.Now().Sub(row.AbsoluteExpiry); kept < 90*day || kept > retained+2*day {
			t.Errorf("the user was kept for %v after the end of the session", kept)
		}
	})
}

// A session of less than a week may follow a sign-in that was not recorded.
func TestNoUserIsDeletedBeforeTheRetentionIsOver(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.retainUsers("90d")
		w.signIn("alice")
		w.clock.Advance(7*day - time.Second)
		last := w.signIn("alice", func(n *models.NewSession) {
			n.AbsoluteExpiry, n.IdleExpiry = w.Now().Add(7*day-time.Second), time.Time{}
		})
		for w.isThere("alice") && w.Now().Before(start.Add(1000*day)) {
			w.clock.Advance(day)
			w.deleteUnseen()
		}
		if kept := w.Now().Sub(last.AbsoluteExpiry); kept < 90*day {
			t.Errorf("the user was kept for %v after the end of the last session", kept)
		}
	})
}

func TestUsersWhomSomebodyNamedAreKept(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for _, sub := range []string{"alice", "named-later", "suspended", "attribute", "owned"} {
			w.signIn(sub)
		}
		w.suspend(models.KindUser, "suspended")
		w.exec(`UPDATE users SET attribute_sources = '{"role":"operator"}' WHERE sub = 'attribute'`) // as a release wrote it
		w.exec("INSERT INTO file_nouns (tenant_id, noun, id) VALUES ('default', 'user', 'owned')")   // that did not know named_at
		w.retainUsers("90d", func(s *settings.TenantSpec) {
			s.Users = []settings.UserSpec{{Sub: "named-later"}, {Sub: "named-first"}, {Sub: "disabled", Disabled: true}}
		})
		w.retainUsers("90d") // what no longer names them does not matter
		w.clock.Advance(retained + day)
		if n := w.deleteUnseen(); n != 1 || w.isThere("alice") {
			t.Errorf("%d users were deleted, want alice", n)
		}
		if n := w.number("SELECT count(*) FROM users"); n != 6 {
			t.Errorf("%d users are left, want 6", n)
		}
		w.resume(models.KindUser, "suspended")
		w.clock.Advance(90 * day)
		if n := w.deleteUnseen(); n != 0 {
			t.Error("a user was deleted whose suspension was lifted a moment ago")
		}
		w.clock.Advance(retained - 90*day + time.Microsecond)
		if n := w.deleteUnseen(); n != 1 || w.isThere("suspended") {
			t.Errorf("%d users were deleted, want the one whose suspension was lifted", n)
		}
	})
}

// While a tenant is disabled nobody can sign in, and a backup does not contain who
// did.
func TestTheRetentionStartsOverWhenNobodyCouldSignIn(t *testing.T) {
	for name, happens := range map[string]func(w *fixture){
		"a tenant was disabled":   func(w *fixture) { w.retainUsers("90d", func(s *settings.TenantSpec) { s.Disabled = true }) },
		"a tenant was suspended":  func(w *fixture) { w.suspend(models.KindTenant, acme) },
		"a database was restored": nil,
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				w.retainUsers("90d")
				w.signIn("alice")
				w.clock.Advance(day)
				if happens != nil {
					happens(w)
				}
				w.clock.Advance(retained)
				switch {
				case happens == nil:
					_, err := w.Restored(t.Context(), w.Now().Add(-time.Hour), true)
					must(t, err)
				case w.deleteUnseen() != 0:
					t.Error("a user was deleted who could not sign in")
				case strings.HasSuffix(name, "suspended"):
					w.resume(models.KindTenant, acme)
				default:
					w.retainUsers("90d")
				}
				w.clock.Advance(90 * day)
				if n := w.deleteUnseen(); n != 0 {
					t.Errorf("%d users were deleted, who had less than the retention to sign in", n)
				}
				w.clock.Advance(15 * day)
				if n := w.deleteUnseen(); n != 1 {
					t.Errorf("%d users were deleted after that, want 1", n)
				}
			})
		})
	}
}

func TestASignInIsRecordedOnceAWeek(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		seen := func(want time.Duration) {
			t.Helper()
			if at := w.number("SELECT seen_at FROM users"); int64(at) != start.Add(want).UnixMicro() {
				t.Errorf("after %v the user was last seen %v after the first sign-in, want %v", w.Now().Sub(start), time.UnixMicro(int64(at)).Sub(start), want)
			}
		}
		w.signIn("alice")
		seen(0)
		w.clock.Advance(7*day - time.Microsecond)
		w.signIn("alice")
		seen(0)
		w.clock.Advance(time.Microsecond)
		row := w.signIn("alice", func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"plan": "pro"}) })
		seen(7 * day)
		w.clock.Advance(30 * time.Minute)
		w.rotate(row, 0, 1)
		seen(7 * day)
		w.clock.Advance(8 * day)
		if _, err := w.CreateSession(t.Context(), w.alice(), func(*models.Session) error { return models.ErrConflict }); err == nil {
			t.Fatal("a session was opened without a signature")
		}
		seen(7 * day)
	})
}

// A sign-in at the same moment keeps the user or makes a new one.
func TestASignInBesideTheEndOfTheRetentionSucceeds(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		node := w.another(models.Options{})
		w.retainUsers("90d")
		for i := range 10 {
			w.signIn(fmt.Sprint("user-", i))
		}
		w.clock.Advance(retained + day)
		w.prune()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := node.DeleteUnseenUsers(t.Context()); err != nil {
				t.Error(err)
			}
		})
		for i := range 10 {
			all.Go(func() {
				n := w.alice(func(n *models.NewSession) { n.Subject = fmt.Sprint("user-", i) })
				if _, err := w.CreateSession(t.Context(), n, signs); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := w.number("SELECT count(*) FROM sessions s JOIN users u ON u.tenant_id = s.tenant_id AND u.sub = s.subject WHERE s.ended_at IS NULL"); n != 10 {
			t.Errorf("%d of 10 sessions have their user", n)
		}
	})
}

func TestUnseenUsersAreDeletedInBatches(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.retainUsers("90d")
		w.manyUsers(520, start)
		w.clock.Advance(retained + day)
		for _, want := range []int{500, 20, 0} {
			if n := w.deleteUnseen(); n != want {
				t.Errorf("a batch had %d users, want %d", n, want)
			}
		}
	})
}

// manyUsers creates users without a session.
func (w *fixture) manyUsers(n int, seen time.Time) {
	w.Helper()
	w.exec(`INSERT INTO users (tenant_id, sub, attributes, disabled, created_at, updated_at, seen_at)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < `+fmt.Sprint(n)+`)
		SELECT 'default', 'many-' || i, '{}', false, ?, ?, ? FROM n`, seen.UnixMicro(), seen.UnixMicro(), seen.UnixMicro())
}

func TestDeletingUnseenUsersReadsFewRows(t *testing.T) {
	w := newPostgresFixture(t)
	w.retainUsers("90d")
	w.signIn("alice")
	w.clock.Advance(retained + day)
	w.manyUsers(20_000, w.Now())
	w.exec("ANALYZE users")
	for _, want := range []int{1, 0, 0} {
		if n := w.deleteUnseen(); n != want {
			t.Errorf("%d users were deleted, want %d", n, want)
		}
	}
	must(t, w.Close())
	const scans = "SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes WHERE indexrelname = 'users_unseen'"
	for w.number(scans) < 3 && t.Context().Err() == nil { // statistics come when a connection ends
		time.Sleep(10 * time.Millisecond)
	}
	if n := w.number("SELECT coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0) FROM pg_stat_user_tables WHERE relname = 'users'"); n > 1000 {
		t.Errorf("three rounds read %d rows of users", n)
	}
}
