package models_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// Whatever happens at the same time, all sessions that the user had are over when
// the call returns, each recorded once. They do not fit in one transaction.
func TestEverySessionOfAUserIsEnded(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		node := w.another(models.Options{})
		var had []*models.Session
		for range 250 {
			had = append(had, w.create(w.alice()))
		}
		bob := w.create(w.alice(func(n *models.NewSession) { n.Subject = "bob" }))
		var others sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		for i := range 4 {
			others.Go(func() { // each at sessions of its own
				generations := map[models.SessionID]uint32{}
				for n := i; ctx.Err() == nil; n += 4 {
					row := had[n%len(had)]
					if _, err := node.RotateSession(context.Background(), w.step(row, generations[row.ID])); err == nil {
						generations[row.ID]++
					} else if !errors.Is(err, models.ErrNotFound) {
						t.Error(err)
					}
				}
			})
		}
		for w.read(had[3].ID).Refresh.Generation == 0 && !t.Failed() {
			runtime.Gosched()
		}
		together(3, func(i int) { // one of them spares a session, which the others end
			except := models.SessionID{}
			if i == 0 {
				except = had[0].ID
			}
			if _, err := []*models.Store{w.Store, node}[i%2].EndSessions(t.Context(), acme, "alice", except, w.Now(), session.SignedOut); err != nil {
				t.Error(err)
			}
		})
		ended := map[models.SessionID]uint32{}
		for _, row := range had {
			read := w.read(row.ID)
			if ended[row.ID] = read.Refresh.Generation; read.EndReason != session.SignedOut || !read.EndedAt.Equal(w.Now()) {
				t.Errorf("%s ended at %v, %q", row.ID, read.EndedAt, read.EndReason)
			}
		}
		stop()
		others.Wait()
		for _, row := range had {
			if got := w.events(row.ID); strings.Count(got, "session_ended") != 1 || w.read(row.ID).Refresh.Generation != ended[row.ID] {
				t.Errorf("events %q, and generation %d after %d", got, w.read(row.ID).Refresh.Generation, ended[row.ID])
			}
		}
		if !w.read(bob.ID).EndedAt.IsZero() {
			t.Error("another user's session was ended")
		}
	})
}

func TestABatchOfSessionsIsEndedOrNot(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		kept, ended := w.create(w.alice()), w.create(w.alice())
		w.clock.Advance(time.Second)
		for tenant, want := range map[string]int{acme: 1, "other": 0} {
			if n, err := w.EndSessions(t.Context(), tenant, "alice", kept.ID, w.Now(), session.Revoked); err != nil || n != want {
				t.Errorf("tenant %s: ended %d, %v; want %d", tenant, n, err, want)
			}
		}
		if read := w.read(kept.ID); !read.EndedAt.IsZero() {
			t.Errorf("the one to be kept ended at %v", read.EndedAt)
		}
		if read := w.read(ended.ID); read.EndReason != session.RevokedByBackend || w.events(ended.ID) != "session_created session_ended" {
			t.Errorf("ended: %q, events %q", read.EndReason, w.events(ended.ID))
		}
		w.exec("ALTER TABLE events RENAME TO lost")
		if _, err := w.EndSessions(t.Context(), acme, "alice", models.SessionID{}, w.Now(), session.Revoked); err == nil {
			t.Error("an end without its event")
		}
		if _, err := w.ExtendSession(t.Context(), kept, w.Now(), w.Now().Add(time.Minute), "support"); err == nil {
			t.Error("an extension without its event")
		}
		if read := w.read(kept.ID); !read.EndedAt.IsZero() || !read.AbsoluteExpiry.Equal(kept.AbsoluteExpiry) {
			t.Errorf("it was changed: %v, %v", read.EndedAt, read.AbsoluteExpiry)
		}
	})
}

func TestNoEndedSessionIsExtended(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		node := w.another(models.Options{})
		for range 20 {
			row := w.create(w.alice())
			together(2, func(i int) {
				if i == 0 {
					if err := w.EndSession(t.Context(), row, w.Now(), session.SignedOut); err != nil {
						t.Error(err)
					}
				} else if _, err := node.ExtendSession(t.Context(), row, w.Now(), w.Now().Add(time.Minute), "support"); err != nil && !errors.Is(err, models.ErrNotFound) {
					t.Error(err)
				}
			})
			if read := w.read(row.ID); read.EndReason != session.SignedOut {
				t.Errorf("it goes on: %q", read.EndReason)
			}
			if _, err := node.ExtendSession(t.Context(), row, w.Now(), w.Now().Add(time.Minute), "support"); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("it is extended after its end: %v", err)
			}
		}
	})
}

func TestSessionCursorsHaveOneSpelling(t *testing.T) {
	for _, at := range []time.Time{start, time.UnixMicro(1<<63 - 1), time.UnixMicro(-1 << 63)} {
		c := models.SessionCursor{CreatedAt: at, ID: models.NewSessionID()}
		if back, err := models.ParseSessionCursor(c.String()); err != nil || !back.CreatedAt.Equal(at) || back.ID != c.ID {
			t.Errorf("%v reads back as %v, %v", c, back, err)
		}
	}
}
