package models_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// prune removes everything that is due and returns the number of batches.
func (w *fixture) prune() (batches int) {
	w.Helper()
	for more := true; more; batches++ {
		if batches == 100 {
			w.Fatal("pruning has no end")
		}
		var err error
		more, err = w.Prune(w.Context(), w.Now())
		must(w, err)
	}
	return batches
}

func TestAnIdleSessionIsMarkedAndLaterRemoved(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		ended := row.IdleExpiry
		w.clock.Advance(time.Hour - time.Microsecond)
		w.prune()
		if got := w.events(row.ID); got != "session_created" {
			t.Errorf("before it idled its events were %q", got)
		}
		w.clock.Advance(30 * time.Minute) // late: it ended when it idled all the same
		w.prune()
		if row = w.read(row.ID); !row.EndedAt.Equal(ended) || row.EndReason != session.Idle {
			t.Errorf("it ended at %v, %q; want %v, idle", row.EndedAt, row.EndReason, ended)
		}
		events, err := w.SessionEvents(t.Context(), acme, row.ID)
		must(t, err)
		if last := events[len(events)-1]; last.Type != models.EventSessionEnded || !last.At.Equal(ended) || last.Details["reason"] != "idle" || last.IssuerID != w.issuer {
			t.Errorf("the last event is %+v", last)
		}
		w.clock.Advance(ended.Add(session.Retention).Sub(w.Now()) - time.Microsecond)
		w.prune()
		if n := w.rows()["sessions"]; n != 1 {
			t.Errorf("before its retention was over, %d rows were left", n)
		}
		w.clock.Advance(time.Microsecond)
		w.prune()
		if rows := w.rows(); rows["sessions"] != 0 || rows["events"] != 2 || rows["users"] != 1 {
			t.Errorf("after its retention the tables hold %v", rows)
		}
	})
}

func TestPruningRecordsWhyASessionEnded(t *testing.T) {
	for name, c := range map[string]struct {
		change func(n *models.NewSession)
		want   session.EndReason
	}{
		"it idled":                          {nil, session.Idle},
		"it reached its absolute end":       {func(n *models.NewSession) { n.AbsoluteExpiry = start.Add(time.Minute) }, session.Absolute},
		"it reached the only end it had":    {func(n *models.NewSession) { n.IdleExpiry = time.Time{} }, session.Absolute},
		"its ends came at the same moment":  {func(n *models.NewSession) { n.AbsoluteExpiry = n.IdleExpiry }, session.Absolute},
		"it would idle after its other end": {func(n *models.NewSession) { n.IdleExpiry = start.Add(25 * time.Hour) }, session.Absolute},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				n := w.alice()
				if c.change != nil {
					c.change(&n)
				}
				w.create(n)
				w.clock.Advance(24 * time.Hour)
				w.prune()
				if got := w.read(n.ID).EndReason; got != c.want {
					t.Errorf("it ended for the reason %q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestASessionInUseIsNotPruned(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		due := func() int { return w.number("SELECT prune_at FROM sessions") }
		if got := due(); got != int(row.IdleExpiry.UnixMicro()) {
			t.Errorf("it is looked at first at %d", got)
		}
		for generation := range uint32(30) { // past its absolute end, which was a day from its start
			w.clock.Advance(50 * time.Minute)
			if w.Now().Before(row.AbsoluteExpiry) {
				rotated, err := w.RotateSession(t.Context(), w.step(row, generation))
				must(t, err)
				w.prune()
				if read := w.read(row.ID); !read.EndedAt.IsZero() {
					t.Fatalf("it ended in use, after %v: %q", w.Now().Sub(start), read.EndReason)
				}
				if got, want := due(), rotated.Lifetime().Expiry().UnixMicro(); got > int(want) {
					t.Errorf("it is looked at next at %d, want at most %d", got, want)
				}
			}
		}
		w.prune()
		if read := w.read(row.ID); read.EndReason != session.Absolute || !read.EndedAt.Equal(row.AbsoluteExpiry) {
			t.Errorf("it ended at %v, %q", read.EndedAt, read.EndReason)
		}
	})
}

func TestASessionThatWasEndedIsRemovedWithoutAnotherEvent(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		w.clock.Advance(time.Minute)
		must(t, w.EndSession(t.Context(), row, w.Now(), session.SignedOut))
		w.clock.Advance(session.Retention - time.Microsecond)
		w.prune()
		if read := w.read(row.ID); read.EndReason != session.SignedOut {
			t.Errorf("it ended for the reason %q", read.EndReason)
		}
		w.clock.Advance(time.Microsecond)
		w.prune()
		if rows := w.rows(); rows["sessions"] != 0 || rows["events"] != 2 {
			t.Errorf("the tables hold %v", rows)
		}
	})
}

func TestPruningRemovesTokensAndEventsThatAreTooOld(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		expiry := w.Now().Add(10 * time.Minute)
		w.create(w.alice())
		must(t, w.RevokeToken(t.Context(), acme, "web", "jti", nil, w.Now(), expiry))
		w.clock.Advance(10 * time.Minute)
		w.prune()
		if rows := w.rows(); rows["spent_tokens"] != 1 || rows["revoked_tokens"] != 1 {
			t.Errorf("while they might still be accepted the tables held %v", rows)
		}
		w.clock.Advance(time.Microsecond)
		w.prune()
		if rows := w.rows(); rows["spent_tokens"] != 0 || rows["revoked_tokens"] != 0 || rows["events"] != 2 {
			t.Errorf("then they held %v", rows)
		}
		w.clock.Advance(settings.EventRetention - 10*time.Minute - time.Microsecond)
		if w.prune(); w.rows()["events"] != 3 { // with the session's end
			t.Errorf("after 90 days %d events were left", w.rows()["events"])
		}
		w.clock.Advance(time.Microsecond)
		if w.prune(); w.rows()["events"] != 1 {
			t.Errorf("then %d events were left", w.rows()["events"])
		}
	})
}

func TestPruningGoesInBatches(t *testing.T) {
	const many = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) `
	for table, insert := range map[string]string{
		"spent_tokens":   `INSERT INTO spent_tokens (tenant_id, issuer, jti_digest, expires_at) ` + many + `SELECT 'default', 'issuer ' || i, id, 1 FROM n, sessions`,
		"revoked_tokens": `INSERT INTO revoked_tokens (tenant_id, jti, client_id, revoked_at, expires_at) ` + many + `SELECT 'default', 'jti ' || i, 'web', 1, 1 FROM n`,
	} {
		t.Run(table, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				w.create(w.alice())
				w.exec("DELETE FROM spent_tokens")
				w.exec(insert)
				if n := w.rows()[table]; n != 1200 {
					t.Fatalf("%d rows were made", n)
				}
				more, err := w.Prune(t.Context(), w.Now())
				must(t, err)
				if n := w.rows()[table]; !more || n != 700 {
					t.Errorf("after one batch %d rows were left, and more to do: %v", n, more)
				}
				if batches := w.prune(); batches != 2 || w.rows()[table] != 0 {
					t.Errorf("after %d more batches %d rows were left", batches, w.rows()[table])
				}
			})
		})
	}
}

func TestPruningSessionsGoesInBatches(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for range 501 {
			w.create(w.alice())
		}
		w.exec("DELETE FROM spent_tokens")
		w.clock.Advance(time.Hour)
		if batches := w.prune(); batches != 2 {
			t.Errorf("501 sessions took %d batches, want 2", batches)
		}
		if n := w.number("SELECT count(*) FROM sessions WHERE end_reason = 'idle'"); n != 501 {
			t.Errorf("%d sessions are marked", n)
		}
	})
}
