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

// testSlots returns a limiter with two slots.
func testSlots(log *bytes.Buffer) *signLimiter {
	return &signLimiter{free: make(chan struct{}, 2), maxWait: signingWait, log: slog.New(slog.NewTextHandler(log, nil))}
}

// crowd starts n requests at once. Each of them holds a slot for the given time.
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
		synctest.Wait() // in the order of their start
	}
	all.Wait()
	return served, refused
}

func TestTheNumberOfWaitingRequestsDependsOnTheirDuration(t *testing.T) {
	for name, c := range map[string]struct {
		hold         time.Duration
		served, most int // of a thousand
	}{
		"fast: all requests":                 {2 * time.Millisecond, 1000, 1000},
		"slow: as many as one second allows": {20 * time.Millisecond, 100, 104},
		"very slow: only a few":              {400 * time.Millisecond, 6, 8},
		"slower than the limit itself":       {1500 * time.Millisecond, 2, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := testSlots(new(bytes.Buffer))
				crowd(t, s, 2, c.hold) // so that the limiter has measured the time
				served, refused := crowd(t, s, 1000, c.hold)
				if served < c.served || served > c.most || served+refused != 1000 {
					t.Errorf("%d served, %d refused; want %d to %d served", served, refused, c.served, c.most)
				}
				if len(s.free) != 0 || s.waiting.Load() != 0 {
					t.Errorf("%d slots are still held and %d requests still wait", len(s.free), s.waiting.Load())
				}
			})
		})
	}
}

func TestAServerThatWasSlowRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSlots(new(bytes.Buffer))
		crowd(t, s, 2, 10*time.Second) // the database hung
		for range 100 {
			crowd(t, s, 2, 2*time.Millisecond)
		}
		if _, refused := crowd(t, s, 100, 2*time.Millisecond); refused != 0 {
			t.Errorf("%d of 100 requests are rejected although the database is fast again", refused)
		}
	})
}

func TestAFullLimiterPausesBeforeItRejects(t *testing.T) {
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
			t.Errorf("75 consecutive refusals took %s", took)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || s.refusals.Load() != 75 { // in about 15 s
			t.Errorf("%d lines for %d refusals: %s", lines, s.refusals.Load(), log.String())
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := s.admit(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that has disconnected gets %v", err)
		}
		s.meanHold.Store(int64(time.Millisecond)) // room again, after the pause
		if err := s.admit(t.Context()); err != nil {
			t.Errorf("a request is rejected although there is room: %v", err)
		}
	})
}

func TestAcquireStopsWaiting(t *testing.T) {
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
			t.Errorf("a caller that has disconnected gets %v", err)
		}
		if _, err := s.acquire(t.Context()); !errors.Is(err, errBusy) { // the time passes at once in a bubble
			t.Errorf("a caller that waited too long gets %v", err)
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

func TestRejectedCallersRetryAtDifferentTimes(t *testing.T) {
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
			t.Errorf("%d of 500 callers retry after %s s: %v", times[seconds], seconds, times)
		}
	}
}

// However many requests arrive at once, those that were admitted get their slot.
func TestARequestWithATicketIsNotRejected(t *testing.T) {
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
		var tickets []*ticket
		for range 1000 {
			ticket, err := s.reserve()
			if err != nil {
				break
			}
			tickets = append(tickets, ticket)
		}
		if len(tickets) < 90 || len(tickets) > 100 {
			t.Fatalf("%d requests have a ticket", len(tickets))
		}
		tickets[0].release() // rejected for another reason
		tickets[0].release()
		if _, err := s.reserve(); err != nil {
			t.Errorf("the released ticket is not free: %v", err)
		}
		release()
		again()
		var all sync.WaitGroup
		for _, ticket := range tickets[1:] {
			all.Go(func() {
				release, err := s.acquire(withTicket(t.Context(), ticket))
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
			t.Errorf("%d are admitted, %d wait, %d hold a slot", s.admitted.Load(), s.waiting.Load(), len(s.free))
		}
	})
}
