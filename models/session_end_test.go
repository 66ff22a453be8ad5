package models_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

func TestASessionEndsOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		reasons := []session.EndReason{session.SignedOut, session.Revoked, session.ReuseDetected, session.Evicted}
		for round, why := range reasons {
			w.clock.Advance(time.Second)
			must(t, w.EndSession(t.Context(), row, w.Now(), why))
			if round == 0 {
				together(8, func(i int) {
					if err := w.EndSession(t.Context(), row, w.Now(), reasons[i%4]); err != nil {
						t.Error(err)
					}
				})
			}
		}
		if read := w.read(row.ID); !read.EndedAt.Equal(start.Add(time.Second)) || read.EndReason != session.SignedOut {
			t.Errorf("it ended at %v, %q", read.EndedAt, read.EndReason)
		}
		if got := w.events(row.ID); got != "session_created session_ended" {
			t.Errorf("events %q", got)
		}
	})
}

func TestOneOfManyEndsIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		nodes := []*models.Store{w.Store, w.another(models.Options{})}
		row := w.create(w.alice())
		together(16, func(i int) {
			if err := nodes[i%2].EndSession(t.Context(), row, w.Now(), session.SignedOut); err != nil {
				t.Error(err)
			}
		})
		if got := w.events(row.ID); strings.Count(got, "session_ended") != 1 {
			t.Errorf("events %q", got)
		}
	})
}

func TestAReuseIsRecordedTogetherWithTheEnd(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		reuse := row.Event(w.Now(), models.EventRefreshReuse, map[string]any{"ip": "203.0.113.9"})
		must(t, w.EndSession(t.Context(), row, w.Now(), session.ReuseDetected, reuse))
		if got := w.events(row.ID); !strings.Contains(got, "refresh_reuse") || !strings.Contains(got, "session_ended") {
			t.Errorf("events %q", got)
		}
		broken := row.Event(w.Now(), models.EventRefreshReuse, map[string]any{"ip": func() {}})
		other := w.create(w.alice())
		if err := w.EndSession(t.Context(), other, w.Now(), session.ReuseDetected, broken); err == nil {
			t.Error("an event that cannot be written is lost in silence")
		}
		if read := w.read(other.ID); !read.EndedAt.IsZero() {
			t.Error("the session ended without its event")
		}
	})
}

// After a revocation has returned, no refresh succeeds.
func TestNoRotationSucceedsAfterAnEnd(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		node := w.another(models.Options{})
		row := w.create(w.alice())
		var rotators sync.WaitGroup
		for range 4 {
			rotators.Go(func() {
				for {
					now, err := node.Session(t.Context(), acme, row.ID)
					if err != nil {
						t.Error(err)
						return
					}
					if !now.EndedAt.IsZero() {
						return
					}
					_, err = node.RotateSession(t.Context(), w.step(row, now.Refresh.Generation))
					if err != nil && !errors.Is(err, models.ErrNotFound) {
						t.Error(err)
					}
				}
			})
		}
		for w.read(row.ID).Refresh.Generation < 20 && !t.Failed() {
			runtime.Gosched()
		}
		must(t, w.EndSession(t.Context(), row, w.Now(), session.SignedOut))
		ended := w.read(row.ID)
		rotators.Wait()
		after := w.read(row.ID)
		if after.Refresh.Generation != ended.Refresh.Generation || after.EndReason != session.SignedOut {
			t.Errorf("the session went from generation %d to %d after its end", ended.Refresh.Generation, after.Refresh.Generation)
		}
		if _, err := w.RotateSession(t.Context(), w.step(row, after.Refresh.Generation)); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("the current token still rotates: %v", err)
		}
	})
}

func TestSessionIDsHaveOneSpelling(t *testing.T) {
	id := models.NewSessionID()
	if back, err := models.ParseSessionID(id.String()); back != id || err != nil {
		t.Errorf("%s reads back as %v, %v", id, back, err)
	}
	text := models.SessionID{}.String()
	for name, other := range map[string]string{
		"nothing":                 "",
		"a shorter one":           text[1:],
		"a longer one":            text + "AA",
		"padding":                 text + "==",
		"unused bits":             text[:21] + "B",
		"a newline within":        text[:9] + "\n" + text[9:],
		"a newline at the end":    text + "\r\n",
		"the alphabet of Base64":  text[:21] + "+",
		"a character of no sense": text[:21] + "!",
	} {
		if _, err := models.ParseSessionID(other); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("%s passes: %v", name, err)
		}
	}
}
