package models_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/models/tail"
	"github.com/latchkey/latchkey/session"
)

func TestARestoredDatabaseRevivesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before := w.create(w.alice())
		followed := tail.New(w.Store, slog.New(slog.DiscardHandler))
		must(t, followed.Look(t.Context()))
		epoch := w.epoch()
		w.clock.Advance(time.Hour)
		at := w.Now()
		w.clock.Advance(time.Hour)
		after := w.create(w.alice())

		ended, err := w.Restored(t.Context(), at, false)
		if err != nil || ended != 1 {
			t.Errorf("%d sessions ended, %v; want 1", ended, err)
		}
		if row := w.read(before.ID); row.EndedAt.IsZero() || row.EndReason != session.Restored {
			t.Errorf("a session that the backup contains is %+v", row.Lifetime())
		}
		if row := w.read(after.ID); !row.EndedAt.IsZero() {
			t.Error("a session that was made since has ended")
		}
		if w.epoch() == epoch {
			t.Error("the epoch is the same")
		}
		w.clock.Advance(time.Minute)
		must(t, followed.Look(t.Context()))
		found, err := followed.Revoked(acme, tail.Position{Epoch: epoch, At: at})
		if err != nil || len(found.Revocations) != 1 || found.Revocations[0].Before.Before(at) {
			t.Errorf("a reader of the feed hears %+v, %v", found, err)
		}
		if again, err := w.Restored(t.Context(), at, false); err != nil || again != 0 {
			t.Errorf("run again it ends %d, %v", again, err)
		}
	})
}

func TestARestoredDatabaseKeepsSessionsIfAsked(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		w.clock.Advance(time.Minute)
		if ended, err := w.Restored(t.Context(), w.Now(), true); err != nil || ended != 0 {
			t.Errorf("%d sessions ended, %v", ended, err)
		}
		w.rotate(row, 0, 1)
		if _, err := w.Restored(t.Context(), w.Now().Add(time.Hour), true); err == nil {
			t.Error("a moment in the future is taken")
		}
	})
}

// A backup does not contain which client tokens were used since.
func TestAClientTokenFromBeforeARestoreIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		issued := func(at time.Time) func(*models.NewSession) {
			return func(n *models.NewSession) { n.Token.IssuedAt = at }
		}
		old := w.alice(issued(w.Now()))
		w.clock.Advance(time.Second)
		_, err := w.Restored(t.Context(), w.Now(), true)
		must(t, err)
		counts := w.rows()
		if _, err := w.CreateSession(t.Context(), old, signs); !errors.Is(err, models.ErrTokenBeforeRestore) {
			t.Errorf("returned %v", err)
		}
		w.wantRows(counts)
		w.create(w.alice(issued(w.Now())))
	})
}

// A backup is noted in whole seconds, in the last of which users signed in.
func TestARestoreUpToASecondIncludesAllOfIt(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		at := w.Now().Truncate(time.Second)
		w.clock.Advance(at.Add(700 * time.Millisecond).Sub(w.Now()))
		row := w.create(w.alice())
		if ended, err := w.Restored(t.Context(), at, false); err != nil || ended != 1 {
			t.Errorf("%d sessions ended, %v; want the one of %v", ended, err, row.CreatedAt)
		}
	})
}
