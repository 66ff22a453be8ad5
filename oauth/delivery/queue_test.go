package delivery

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// event returns an event of a session, which is a letter, so many milliseconds after
// start.
func event(ms int, session string) models.ListedEvent {
	e := models.ListedEvent{ID: models.EventFrom(start.Add(time.Duration(ms) * time.Millisecond)), Event: models.Event{Type: models.EventSessionExtended}}
	if session != "" {
		id := models.SessionID{session[0]}
		e.SessionID = &id
	}
	return e
}

func queued(events ...models.ListedEvent) *queue {
	q := newQueue(&models.DeliveryState{ToldTo: models.EventFrom(start.Add(-time.Hour))}, nil, nil)
	q.behind = false
	for _, e := range events {
		q.offer(e, start)
	}
	return q
}

func yes(it *item) outcome {
	return outcome{Attempt: models.Attempt{Event: it.Event, Status: 204}, accepted: true}
}

func no(it *item) outcome {
	return outcome{Attempt: models.Attempt{Event: it.Event, Status: 500, Error: "the receiver answered 500"}}
}

// told returns how long after start the moment is up to which a queue was told.
func told(q *queue) time.Duration { return q.toldTo.At().Sub(start) }

func TestEventsOfASessionAreAttemptedOneAfterTheOther(t *testing.T) {
	q := queued(event(1, "a"), event(2, "a"), event(3, "b"), event(4, ""))
	first, second, third := q.next(start), q.next(start), q.next(start)
	if first.Event != event(1, "a").ID || second.Event != event(3, "b").ID || third.Event != event(4, "").ID {
		t.Fatalf("attempted %v, %v, %v", first.Event, second.Event, third.Event)
	}
	if again := q.next(start); again != nil {
		t.Fatalf("%v is attempted while the one before it is in flight", again.Event.At())
	}
	q.done(first, yes(first), start, 0)
	if next := q.next(start); next == nil || next.Event != event(2, "a").ID {
		t.Error("the next event of the session is not attempted")
	}
}

func TestAFailedEventHoldsUpOnlyItsSession(t *testing.T) {
	q := queued(event(1, "a"), event(2, "a"), event(3, "b"), event(4, "b"))
	a := q.next(start)
	q.done(a, no(a), start, 0)
	for _, ms := range []int{3, 4} {
		b := q.next(start)
		if b == nil || b.Event != event(ms, "").ID {
			t.Fatalf("the event after %d ms is not attempted", ms)
		}
		q.done(b, yes(b), start, 0)
	}
	if it := q.next(start); it != nil {
		t.Fatalf("attempted %v at once after the failure", it.Event.At())
	}
	a = q.next(start.Add(firstWait))
	if a == nil || a.Event != event(1, "").ID {
		t.Fatal("the failed event is not attempted again")
	}
	q.done(a, yes(a), start, 0)
	if a := q.next(start); a == nil || a.Event != event(2, "").ID {
		t.Error("the event after it is not attempted")
	}
}

func TestAnEventThatBecomesVisibleLateIsNotLost(t *testing.T) {
	q := queued(event(2, "a"), event(3, "a"))
	inFlight := q.next(start)
	q.offer(event(1, "a"), start)
	if it := q.next(start); it != nil {
		t.Fatalf("%v overtakes one that is in flight", it.Event.At())
	}
	q.done(inFlight, no(inFlight), start, 0)
	for _, ms := range []int{1, 2, 3} {
		it := q.next(start.Add(time.Hour))
		if it == nil || it.Event != event(ms, "").ID {
			t.Fatalf("after the failure, the event after %d ms is not attempted in order", ms)
		}
		q.done(it, yes(it), start, 0)
	}
	// Before what was told, an event is known; a moment later it is not.
	q.progress(models.EventFrom(start.Add(time.Millisecond * 10)))
	q.offer(event(5, "a"), start)
	q.offer(event(11, "a"), start)
	if it := q.next(start); it == nil || it.Event != event(11, "").ID {
		t.Error("what was told of and what was not are confused")
	}
}

func TestTheCursorPassesOnlyWhatIsAcceptedOrHasARow(t *testing.T) {
	q := queued(event(1, ""), event(2, ""), event(3, ""))
	one, two := q.next(start), q.next(start)
	q.done(two, yes(two), start, 0)
	horizon := models.EventFrom(start.Add(time.Minute))
	if p, changed := q.progress(horizon); !changed || told(q) >= time.Millisecond || len(p.Put) > 0 || !slices.Contains(p.State.Accepted, two.Event) {
		t.Fatalf("with the first in flight: told to %v, %+v", told(q), p)
	}
	q.done(one, no(one), start, 0)
	p, _ := q.progress(horizon)
	if len(p.Put) != 1 || p.Put[0].Event != one.Event || told(q) >= 3*time.Millisecond {
		t.Fatalf("after the first has failed: told to %v, %+v", told(q), p.Put)
	}
	q.stored(p)
	three := q.next(start)
	q.done(three, yes(three), start, 0)
	if p, _ = q.progress(horizon); told(q) != time.Minute || len(p.Put) > 0 {
		t.Fatalf("when all others are accepted: told to %v, put again %+v", told(q), p.Put)
	}
	q.stored(p)
	one = q.next(start.Add(time.Hour))
	q.done(one, yes(one), start, 0)
	if p, _ = q.progress(horizon); len(p.Remove) != 1 || p.Remove[0] != one.Event {
		t.Errorf("its row stays: %+v", p)
	}
}

func TestAReceiverThatIsAwayIsAttemptedByOneEventAtATime(t *testing.T) {
	var events []models.ListedEvent
	for ms := range 100 {
		events = append(events, event(ms, ""))
	}
	q, now, attempts := queued(events...), start, 0
	for now.Before(start.Add(time.Hour)) {
		var flying []*item
		for it := q.next(now); it != nil; it = q.next(now) {
			flying = append(flying, it)
		}
		if q.away() && len(flying) > 1 {
			t.Fatalf("%d attempts at once at a receiver that is away", len(flying))
		}
		for _, it := range flying {
			attempts++
			q.done(it, no(it), now, 0.5)
		}
		now = now.Add(time.Second)
	}
	if attempts < 100 || attempts > 300 {
		t.Errorf("%d attempts in an hour", attempts)
	}
	q.progress(models.EventFrom(now))
	if told(q) > 100*time.Millisecond || q.parked > mostParked {
		t.Errorf("told to %v with nothing accepted, %d rows", told(q), q.parked)
	}
	back := false
	for range 400 {
		it := q.next(now)
		if it == nil {
			now = now.Add(time.Minute)
			continue
		}
		q.done(it, yes(it), now, 0.5)
		back = true
	}
	if !back || len(q.items) > 0 {
		t.Errorf("after its return, %d events wait", len(q.items))
	}
}

func TestAnEventIsGivenUpAfterThreeDays(t *testing.T) {
	q, now, dead := queued(event(1, "a"), event(2, "a")), start, 0
	for now.Before(start.Add(4 * 24 * time.Hour)) {
		if it := q.next(now); it != nil {
			out := no(it)
			if it.Event != event(1, "").ID {
				out = yes(it)
			}
			if q.done(it, out, now, 0.5) {
				dead++
			}
		}
		now = now.Add(time.Minute)
	}
	p, _ := q.progress(models.EventFrom(now))
	if dead != 1 {
		t.Errorf("%d events are reported as given up", dead)
	}
	if len(p.Put) != 1 || p.Put[0].DeadAt.Sub(start) < giveUp || p.Put[0].Event != event(1, "").ID || p.Put[0].Error == "" {
		t.Errorf("given up: %+v", p.Put)
	}
	if len(q.items) > 0 {
		t.Error("the event after it was not delivered")
	}
}

func TestAFullQueueReadsTheRestInTheLog(t *testing.T) {
	q := queued()
	for ms := range mostWaiting + 10 {
		q.offer(event(ms, ""), start)
	}
	if len(q.items) != mostWaiting || !q.behind || q.readTo != before(event(mostWaiting, "").ID) {
		t.Fatalf("%d events, behind: %v, read to %v", len(q.items), q.behind, q.readTo.At().Sub(start))
	}
	for it := q.next(start); it != nil; it = q.next(start) {
		q.done(it, yes(it), start, 0)
	}
	if q.progress(models.EventFrom(start.Add(time.Hour))); told(q) >= mostWaiting*time.Millisecond || len(q.items) > 0 {
		t.Errorf("told to %v, beyond what was read; %d events wait", told(q), len(q.items))
	}
}

// A receiver that fails at random gets every event, those of a session in order, however
// often the node that delivers is replaced.
func TestNothingIsLostWhoeverDelivers(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var log []models.ListedEvent
		for ms := range 300 {
			log = append(log, event(ms*100, string(rune('a'+r.IntN(8)))))
		}
		state := models.DeliveryState{ToldTo: models.EventFrom(start.Add(-time.Hour))}
		rows := map[models.EventID]models.Delivery{}
		accepted := map[models.EventID]int{}
		last := map[models.SessionID]models.EventID{}
		visible, now := 0, start
		for round := 0; len(accepted) < len(log) && round < 200; round++ {
			var parked []models.Delivery
			for _, row := range rows {
				parked = append(parked, row)
			}
			slices.SortFunc(parked, func(a, b models.Delivery) int { return slices.Compare(a.Event[:], b.Event[:]) })
			q := newQueue(&state, parked, log)
			for range 1 + r.IntN(60) {
				now = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
				for visible < len(log) && log[visible].ID.At().Before(now) {
					visible++
				}
				if q.behind {
					for _, e := range log[:visible] {
						if q.readTo.Less(e.ID) {
							q.add(e, now)
							q.readTo = e.ID
						}
					}
					q.behind = false
				}
				for _, e := range log[:visible] {
					q.offer(e, now)
				}
				var flying []*item
				for it := q.next(now); it != nil; it = q.next(now) {
					flying = append(flying, it)
				}
				for _, it := range flying {
					if r.IntN(3) == 0 {
						q.done(it, no(it), now, r.Float64())
						continue
					}
					if accepted[it.Event] == 0 {
						if it.Event.Less(last[*it.SessionID]) {
							t.Fatalf("seed %d: an event of a session came after a later one", seed)
						}
						last[*it.SessionID] = it.Event
					}
					accepted[it.Event]++
					q.done(it, yes(it), now, r.Float64())
				}
				if r.IntN(2) == 0 {
					if p, changed := q.progress(models.EventFrom(now.Add(-5 * time.Second))); changed {
						state = p.State
						for _, id := range p.Remove {
							delete(rows, id)
						}
						for _, d := range p.Put {
							rows[d.Event] = d
						}
						q.stored(p)
					}
				}
			}
			// Another node takes over; what this one did since it last stored is not known.
		}
		if len(accepted) != len(log) {
			t.Fatalf("seed %d: %d of %d events were accepted", seed, len(accepted), len(log))
		}
	}
}

func TestBackOffRisesToItsLimit(t *testing.T) {
	var waits []string
	for n := 1; n < 7; n++ {
		waits = append(waits, backOff(n, 2*time.Second, 30*time.Second).String())
	}
	if got := fmt.Sprint(waits); got != "[2s 4s 8s 16s 30s 30s]" {
		t.Errorf("waits %s", got)
	}
}

// Attempts that are in flight when a receiver goes away fail together. They are one sign
// that it is away, not many.
func TestAShortAbsenceDelaysEventsShortly(t *testing.T) {
	var events []models.ListedEvent
	for ms := range 100 {
		events = append(events, event(ms, ""))
	}
	q := queued(events...)
	var flying []*item
	for it := q.next(start); it != nil; it = q.next(start) {
		flying = append(flying, it)
	}
	if len(flying) != mostInFlight {
		t.Fatalf("%d events are in flight", len(flying))
	}
	for _, it := range flying {
		q.done(it, no(it), start, 0.5)
	}
	now := start.Add(firstWait * 3 / 2)
	probe := q.next(now)
	if probe == nil {
		t.Fatalf("no attempt within %v; the next one is due after %v", now.Sub(start), q.retryAt.Sub(start))
	}
	q.done(probe, yes(probe), now, 0.5)
	if q.next(now) == nil {
		t.Error("after a success, the others are not attempted")
	}
}
