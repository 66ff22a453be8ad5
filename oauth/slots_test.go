package oauth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// testSlots has two slots, each held for a while by everyone who gets one.
func testSlots(log *bytes.Buffer) *signLimiter {
	return &signLimiter{free: make(chan struct{}, 2), maxWait: signingWait, log: slog.New(slog.NewTextHandler(log, nil))}
}

// crowd lets n requests come at once that each hold a slot for so long.
func crowd(t *testing.T, s *signLimiter, n int, hold time.Duration) (served, refused int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			release, err := s.acquire(t.Context())
			if err == nil {
				time.Sleep(hold)
				release()
			} else if !errors.Is(err, errBusy) {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				served++
			} else {
				refused++
			}
		})
		synctest.Wait() // in the order in which they come
	}
	all.Wait()
	return served, refused
}

func TestHowManyMayWaitFollowsFromHowLongItTakes(t *testing.T) {
	for name, c := range map[string]struct {
		hold         time.Duration
		served, most int // of a thousand
	}{
		"fast: all of them":            {2 * time.Millisecond, 1000, 1000},
		"slow: as many as a second's":  {20 * time.Millisecond, 100, 104},
		"very slow: hardly any":        {400 * time.Millisecond, 6, 8},
		"slower than the limit itself": {1500 * time.Millisecond, 2, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := testSlots(new(bytes.Buffer))
				crowd(t, s, 2, c.hold) // so that it knows
				served, refused := crowd(t, s, 1000, c.hold)
				if served < c.served || served > c.most || served+refused != 1000 {
					t.Errorf("%d served, %d refused; want %d to %d served", served, refused, c.served, c.most)
				}
				if len(s.free) != 0 || s.waiting.Load() != 0 {
					t.Errorf("%d slots and %d places were not given back", len(s.free), s.waiting.Load())
				}
			})
		})
	}
}

func TestAServerThatWasSlowTakesRequestsInAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSlots(new(bytes.Buffer))
		crowd(t, s, 2, 10*time.Second) // a database that hung
		for range 100 {
			crowd(t, s, 2, 2*time.Millisecond)
		}
		if _, refused := crowd(t, s, 100, 2*time.Millisecond); refused != 0 {
			t.Errorf("%d of 100 are refused although the database is quick again", refused)
		}
	})
}

func TestACrowdedServerPausesBeforeItRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := testSlots(&log)
		s.meanHold.Store(int64(3 * time.Second))
		for range cap(s.free) {
			release, err := s.acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer release()
		}
		begun := time.Now()
		for range 75 {
			if err := s.admit(t.Context()); !errors.Is(err, errBusy) {
				t.Fatalf("admitted: %v", err)
			}
		}
		if took := time.Since(begun); took < 75*minPause/2 || took > 75*minPause*3/2 {
			t.Errorf("75 refusals one after the other took %s", took)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || s.refusals.Load() != 75 { // in about 15 s
			t.Errorf("%d lines for %d refusals: %s", lines, s.refusals.Load(), log.String())
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := s.admit(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that went away gets %v", err)
		}
		s.meanHold.Store(int64(time.Millisecond)) // room again, after the pause
		if err := s.admit(t.Context()); err != nil {
			t.Errorf("with room for it, a request is refused: %v", err)
		}
	})
}

func TestSlotsGiveUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSlots(new(bytes.Buffer))
		var releases []func()
		for range cap(s.free) {
			release, err := s.acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := s.acquire(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that went away gets %v", err)
		}
		if _, err := s.acquire(t.Context()); !errors.Is(err, errBusy) { // the time passes at once here
			t.Errorf("a caller that waited in vain gets %v", err)
		}
		if s.waiting.Load() != 0 {
			t.Errorf("%d still wait", s.waiting.Load())
		}
		for _, release := range releases {
			release()
		}
		again, err := s.acquire(t.Context())
		if err != nil {
			t.Fatalf("the slot was not given back: %v", err)
		}
		again()
	})
}

func TestRefusedCallersComeBackAtDifferentTimes(t *testing.T) {
	times := map[string]int{}
	for range 500 {
		e := asError(errBusy)
		if e.Status != 503 || e.Code != "temporarily_unavailable" {
			t.Fatalf("%d %s", e.Status, e.Code)
		}
		times[e.RetryAfter]++
	}
	for _, seconds := range []string{"1", "2", "3", "4", "5"} {
		if times[seconds] < 50 {
			t.Errorf("of 500 callers %d come back after %s s: %v", times[seconds], seconds, times)
		}
	}
}

// However many come in the same moment, those that were let in get their slot.
func TestARequestWithAPlaceIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSlots(new(bytes.Buffer))
		crowd(t, s, 2, 20*time.Millisecond)
		release, err := s.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var places []*ticket
		for range 1000 {
			place, err := s.reserve()
			if err != nil {
				break
			}
			places = append(places, place)
		}
		if len(places) < 90 || len(places) > 100 {
			t.Fatalf("%d have a place", len(places))
		}
		places[0].release() // refused for a reason of its own
		places[0].release()
		if _, err := s.reserve(); err != nil {
			t.Errorf("the place of one that left is not free: %v", err)
		}
		release()
		again()
		var all sync.WaitGroup
		for _, place := range places[1:] {
			all.Go(func() {
				release, err := s.acquire(withTicket(t.Context(), place))
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(20 * time.Millisecond)
				release()
			})
		}
		all.Wait()
		if s.admitted.Load() != 1 || s.waiting.Load() != 0 || len(s.free) != 0 {
			t.Errorf("%d come, %d wait, %d hold a slot", s.admitted.Load(), s.waiting.Load(), len(s.free))
		}
	})
}
