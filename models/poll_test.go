package models_test

import (
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

// acknowledge records the answer of the receiver and requires how many events it counts.
func (w *fixture) acknowledge(accepted, refused int, p models.Polled) {
	w.Helper()
	a, r, err := w.AcknowledgeDeliveries(w.Context(), hooks, p)
	must(w, err)
	if a != accepted || r != refused {
		w.Errorf("recorded %d accepted and %d refused events, want %d and %d", a, r, accepted, refused)
	}
}

func TestAnAnswerCountsOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		ids := w.happened(4)
		state := w.deliveryState()
		state.ToldTo = ids[0]
		w.deliver(models.DeliveryProgress{State: *state, Put: []models.Delivery{{Event: ids[0], Type: "session.created", NextAt: w.Now()}}})
		refusal := []models.Delivery{{Event: ids[2], Type: "session.created", Error: "invalid_key"}}
		w.acknowledge(2, 1, models.Polled{Accepted: ids[:2], Refused: refusal}) // the first one has a row
		w.acknowledge(0, 0, models.Polled{Accepted: ids[:3], Refused: refusal}) // accepting does not undo a refusal
		got := w.deliveryState()
		wantIDs(t, "answered", got.Accepted, ids[1:3])
		wantIDs(t, "given up", w.deliveries(true), ids[2:3])
		wantIDs(t, "waiting", w.deliveries(false), nil)
		if got.FailingSince.IsZero() || got.LastError != "invalid_key" || len(got.Recent) != 1 {
			t.Errorf("after the refusal: %+v", got)
		}
		since := got.FailingSince
		w.clock.Advance(time.Minute)
		w.acknowledge(0, 1, models.Polled{Refused: []models.Delivery{{Event: ids[3], Type: "session.created", Error: "again"}}})
		if got := w.deliveryState(); !got.FailingSince.Equal(since) || got.LastError != "again" {
			t.Errorf("after the second refusal: failing since %v, want %v; %q", got.FailingSince, since, got.LastError)
		}
		w.acknowledge(1, 0, models.Polled{Accepted: w.happened(1)})
		if got := w.deliveryState(); !got.FailingSince.IsZero() || got.LastError != "" {
			t.Errorf("after it accepted: failing since %v, %q", got.FailingSince, got.LastError)
		}
		if _, _, err := w.AcknowledgeDeliveries(t.Context(), models.DestinationKey{Tenant: acme, ID: "none"}, models.Polled{Accepted: ids}); err != models.ErrNotFound {
			t.Errorf("of no destination: %v", err)
		}
	})
}

// withRow stores that an event waits for hooks, after some attempts.
func (w *fixture) withRow(id models.EventID, kind string, attempts int) {
	w.Helper()
	w.deliver(models.DeliveryProgress{State: *w.deliveryState(), Put: []models.Delivery{{
		Event: id, Type: kind, Attempts: attempts, FirstAt: w.Now(), NextAt: w.Now(), Error: "an earlier failure",
	}}})
}

func TestARefusedEventIsKeptAsGivenUp(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		ids := w.happened(2)
		state := w.deliveryState()
		state.ToldTo = ids[0]
		w.deliver(models.DeliveryProgress{State: *state})
		w.withRow(ids[0], "session.created", 2)
		first := w.Now()
		w.clock.Advance(time.Minute)
		var refused []models.Delivery
		for _, id := range ids {
			refused = append(refused, models.Delivery{Event: id, Type: "session.created", Error: "invalid_key"})
		}
		w.acknowledge(0, 2, models.Polled{Refused: refused})
		dead, err := w.Deliveries(t.Context(), hooks, true, models.EventID{}, 10)
		must(t, err)
		for i, want := range []struct {
			attempts int
			first    time.Time
		}{{3, first}, {1, w.Now()}} {
			d := dead[i]
			if d.Event != ids[i] || d.Attempts != want.attempts || !d.FirstAt.Equal(want.first) || !d.NextAt.IsZero() || !d.DeadAt.Equal(w.Now()) || d.Error != "invalid_key" {
				t.Errorf("given up: %+v", d)
			}
		}
		recent := w.deliveryState().Recent
		if len(recent) != 2 || recent[1].Event != ids[1] || recent[1].Error != "invalid_key" || !recent[1].At.Equal(w.Now()) {
			t.Errorf("recent attempts: %+v", recent)
		}
	})
}

func TestAnAnswerAboutTheStatusOfAStreamCounts(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		ids := w.happened(1)
		w.withRow(ids[0], models.DeliveredStatus, 0)
		w.acknowledge(1, 0, models.Polled{Statuses: ids})
		w.acknowledge(0, 0, models.Polled{Statuses: ids})
		wantIDs(t, "waiting", w.deliveries(false), nil)
		wantIDs(t, "answered", w.deliveryState().Accepted, nil) // its row is gone, which is enough
	})
}

// An event that the list has no room for is sent again. It must not displace another.
func TestAnsweredEventsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		const most = 8192
		ids := make([]models.EventID, most+2)
		for i := range ids {
			ids[i] = models.EventFrom(w.Now().Add(time.Duration(i) * time.Millisecond))
		}
		w.acknowledge(most, 0, models.Polled{Accepted: ids[1:]})
		wantIDs(t, "answered", w.deliveryState().Accepted, ids[1:most+1])
		w.acknowledge(0, 0, models.Polled{Accepted: ids[:1], Refused: []models.Delivery{{Event: ids[most+1], Type: "session.created", Error: "invalid_key"}}})
		wantIDs(t, "given up", w.deliveries(true), nil)
	})
}

func TestConcurrentAnswersAllCount(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		ids := w.happened(24)
		stores := []*models.Store{w.Store, w.another(models.Options{})}
		done := make(chan error)
		for i, id := range ids {
			go func() {
				n, _, err := stores[i%2].AcknowledgeDeliveries(t.Context(), hooks, models.Polled{Accepted: []models.EventID{id}})
				if err == nil && n != 1 {
					t.Errorf("event %d: recorded %d", i, n)
				}
				done <- err
			}()
		}
		for range ids {
			must(t, <-done)
		}
		wantIDs(t, "answered", w.deliveryState().Accepted, ids)
	})
}

// A poll that began before an operator's change must not skip what the receiver is to get
// again.
func TestAPollDoesNotSkipARedelivery(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		ids := w.happened(3)
		w.acknowledge(3, 0, models.Polled{Accepted: ids})
		before := w.deliveryState()
		must(t, w.AdvanceDeliveries(t.Context(), hooks, before.Revision, ids[1]))
		if got := w.deliveryState(); got.ToldTo != ids[1] || !slices.Equal(got.Accepted, ids[2:]) {
			t.Errorf("told to %v, answered %v", got.ToldTo, got.Accepted)
		}
		must(t, w.AdvanceDeliveries(t.Context(), hooks, before.Revision, ids[0]))
		if got := w.deliveryState(); got.ToldTo != ids[1] {
			t.Errorf("moved back to %v", got.ToldTo)
		}
		must(t, w.RedeliverSince(t.Context(), hooks, ids[0].At(), models.Actor{Name: "test", Role: models.RoleMachine}))
		state := w.deliveryState()
		must(t, w.AdvanceDeliveries(t.Context(), hooks, before.Revision, ids[2]))
		if got := w.deliveryState(); got.ToldTo != state.ToldTo || len(got.Accepted) != 0 {
			t.Errorf("after the redelivery: told to %v, answered %v", got.ToldTo, got.Accepted)
		}
		w.acknowledge(1, 0, models.Polled{Accepted: ids[2:]})
	})
}
