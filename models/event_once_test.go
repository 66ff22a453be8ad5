package models_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// count returns how many events of a type the log has.
func (w *fixture) count(of models.EventType) int {
	w.Helper()
	return w.number("SELECT count(*) FROM events WHERE type = ?", string(of))
}

// inParallel runs fn n times concurrently on two nodes.
func (w *fixture) inParallel(n int, fn func(s *models.Store) error) {
	w.Helper()
	nodes := []*models.Store{w.Store, w.another(models.Options{})}
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			if err := fn(nodes[i%2]); err != nil {
				w.Error(err)
			}
		})
	}
	running.Wait()
}

func TestARepeatedEventIsRecordedOnceAcrossNodes(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		told := func(generation int) func(*models.Store) error {
			details := map[string]any{"current_generation": 5, "generation": generation, "ip": `203.0.113.9","generation":5,"`}
			return func(s *models.Store) error {
				return s.AddEvent(context.Background(), row.Event(w.Now(), models.EventRefreshDuplicate, details), "generation")
			}
		}
		for i, generation := range []int{50, 5, 0, 5, 50} {
			w.inParallel(8, told(generation))
			if n, want := w.count(models.EventRefreshDuplicate), min(i+1, 3); n != want {
				t.Fatalf("after generation %d there are %d events, want %d", generation, n, want)
			}
		}
		other := w.create(w.alice())
		must(t, w.AddEvent(t.Context(), other.Event(w.Now(), models.EventRefreshDuplicate, map[string]any{"generation": 5}), "generation"))
		must(t, w.AddEvent(t.Context(), row.Event(w.Now(), models.EventChainMismatch, map[string]any{"generation": 5}), "generation"))
		if n := w.count(models.EventRefreshDuplicate) + w.count(models.EventChainMismatch); n != 5 {
			t.Errorf("%d events, want one for each session and kind beside the three", n)
		}
	})
}

func TestTheKeyOfAnEventIsTakenLiterally(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		values := []string{"a_c", "abc", "a%c", "a!c", "a!!c", `a"c`, `a\c`, "a<c", "a"}
		for range 2 {
			for _, value := range values {
				must(t, w.AddEvent(t.Context(), row.Event(w.Now(), models.EventStepUpRefused, map[string]any{"jti_digest": value}), "jti_digest"))
			}
		}
		if n := w.count(models.EventStepUpRefused); n != len(values) {
			t.Errorf("%d events, want %d", n, len(values))
		}
	})
}

func TestARetryFromElsewhereIsRecordedOncePerGeneration(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		for generation := range uint32(4) {
			row.Refresh.Generation = generation
			w.clock.Advance(time.Second)
			w.inParallel(8, func(s *models.Store) error {
				return s.NoteSharedRefresh(context.Background(), row, w.Now(), map[string]any{"generation": generation})
			})
		}
		if n, shared := w.count(models.EventRefreshElsewhere), w.count(models.EventRefreshShared); n != 4 || shared != 2 {
			t.Errorf("%d events record retries and %d sharing, want 4 and 2", n, shared)
		}
	})
}

func TestReuseIsRecordedOncePerSession(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		w.inParallel(8, func(s *models.Store) error {
			return s.EndSession(context.Background(), row, w.Now(), session.ReuseDetected, row.Event(w.Now(), models.EventRefreshReuse, nil))
		})
		if n, ended := w.count(models.EventRefreshReuse), w.count(models.EventSessionEnded); n != 1 || ended != 1 {
			t.Errorf("%d events record reuse and %d the end, want one each", n, ended)
		}
	})
}

func TestAnExtensionToTheSameExpiryIsNotRecordedAgain(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		for range 3 {
			_, err := w.ExtendSession(t.Context(), row, w.Now(), row.AbsoluteExpiry.Add(1e9), "backend")
			must(t, err)
		}
		if n := w.count(models.EventSessionExtended); n != 1 {
			t.Errorf("%d events, want 1", n)
		}
	})
}

// counted is what has been added to the counts since `before`.
func counted(s *models.Store, before map[string]float64) map[string]float64 {
	more := map[string]float64{}
	for name, n := range s.EventCounts() {
		if n != before[name] {
			more[name] = n - before[name]
		}
	}
	return more
}

func TestEventsAreCountedWhenTheyAreCommitted(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before := w.EventCounts()
		for _, name := range []string{"session.created", "session.ended.reuse_detected", "session.ended.idle", "client_token.replayed", "chain_mismatch"} {
			if n, has := before[name]; !has || n != 0 {
				t.Errorf("%s begins with %v (known: %t), want 0", name, n, has)
			}
		}
		row := w.create(w.alice())
		boom := errors.New("no signature")
		if _, err := w.CreateSession(t.Context(), w.alice(), func(*models.Session) error { return boom }); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		for range 3 {
			must(t, w.EndSession(t.Context(), row, w.Now(), session.ReuseDetected, row.Event(w.Now(), models.EventRefreshReuse, nil)))
			must(t, w.AddEvent(t.Context(), row.Event(w.Now(), models.EventChainMismatch, map[string]any{"generation": 1}), "generation"))
		}
		got := counted(w.Store, before)
		if len(got) != 3 || got["session.created"] != 1 || got["session.ended.reuse_detected"] != 1 || got["chain_mismatch"] != 1 {
			t.Errorf("counted %v", got)
		}
		one := w.create(w.alice())
		must(t, w.EndSession(t.Context(), one, w.Now(), session.SignedOut))
		before = w.EventCounts()
		if _, err := w.DeleteUser(t.Context(), acme, "alice", models.ServerActor); err != nil {
			t.Fatal(err)
		}
		if got := counted(w.Store, before); len(got) != 1 || got["user_deleted"] != 1 {
			t.Errorf("sessions that had ended are counted once more: %v", got)
		}
	})
}

// Transactions that conflict run again, and what they wrote the first time was
// rolled back.
func TestARepeatedTransactionCountsOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before, attempts := w.EventCounts(), 0
		_, err := w.CreateSession(t.Context(), w.alice(), func(*models.Session) error {
			if attempts++; attempts == 1 {
				return &pgconn.PgError{Code: "40001"}
			}
			return nil
		})
		must(t, err)
		if got := counted(w.Store, before); attempts != 2 || len(got) != 1 || got["session.created"] != 1 {
			t.Errorf("after %d attempts: %v", attempts, got)
		}
	})
}

func TestWarningsNameWhatTheyAreAboutOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		var log strings.Builder
		node := w.another(models.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		row := w.create(w.alice())
		for range 3 {
			must(t, node.AddEvent(t.Context(), row.Event(w.Now(), models.EventChainMismatch, map[string]any{"generation": 7, "ip": "203.0.113.9"}), "generation"))
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") {
			t.Fatalf("the log is %q", lines)
		}
		for _, part := range []string{"event=chain_mismatch", "tenant=default", "client=web", "session=" + row.ID.String(), "generation=7"} {
			if !strings.Contains(lines[0], part) {
				t.Errorf("%s is missing: %s", part, lines[0])
			}
		}
		log.Reset()
		must(t, node.AddEvent(t.Context(), row.Event(w.Now(), models.EventRefreshRetriedLate, map[string]any{"generation": 1})))
		if log.Len() > 0 {
			t.Errorf("a late retry of the same party is a warning: %s", &log)
		}
		must(t, node.AddEvent(t.Context(), row.Event(w.Now(), models.EventRefreshRetriedLate, map[string]any{"generation": 2, "elsewhere": true})))
		if !strings.Contains(log.String(), "generation=2") {
			t.Errorf("a late retry from elsewhere is no warning: %s", &log)
		}
	})
}
