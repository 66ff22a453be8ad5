package models_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// hooks is the event destination of these tests.
var hooks = models.DestinationKey{Tenant: acme, ID: "hooks"}

// withDestination creates the destination hooks.
func (w *fixture) withDestination() {
	w.Helper()
	spec := tenant()
	spec.EventDestinations = []settings.DestinationSpec{{ID: hooks.ID, DestinationSettings: settings.DestinationSettings{
		Type: settings.DestinationPush, URL: "https://receiver.example.com",
	}}}
	w.apply(spec)
}

func (w *fixture) deliveryState() *models.DeliveryState {
	w.Helper()
	state, err := w.DeliveryState(w.Context(), hooks)
	must(w, err)
	return state
}

// happened returns the ids of n new events, one each second.
func (w *fixture) happened(n int) (ids []models.EventID) {
	w.Helper()
	for range n {
		w.clock.Advance(time.Second)
		must(w, w.AddEvent(w.Context(), models.Event{At: w.Now(), TenantID: acme, Type: models.EventSessionCreated, Subject: "alice"}))
	}
	events, err := w.NewEvents(w.Context(), []string{acme}, models.EventFrom(w.Now().Add(-time.Duration(n)*time.Second+time.Millisecond)), n)
	must(w, err)
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	if len(ids) != n {
		w.Fatalf("%d events, want %d", len(ids), n)
	}
	return ids
}

// deliver stores progress as the holder of the lease, and returns what had changed
// meanwhile.
func (w *fixture) deliver(p models.DeliveryProgress) []models.DestinationKey {
	w.Helper()
	held, err := w.Lease(w.Context(), models.DeliveryLease, "node", w.Now(), time.Minute)
	must(w, err)
	if !held {
		w.Fatal("the lease is not held")
	}
	changed, err := w.SaveDeliveries(w.Context(), "node", []models.DeliveryProgress{p})
	must(w, err)
	return changed
}

// deliveries returns the events that wait, or were given up.
func (w *fixture) deliveries(dead bool) (ids []models.EventID) {
	w.Helper()
	list, err := w.Deliveries(w.Context(), hooks, dead, models.EventID{}, 1000)
	must(w, err)
	for _, d := range list {
		ids = append(ids, d.Event)
	}
	return ids
}

func wantIDs(t testing.TB, what string, got, want []models.EventID) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestProgressIsStoredByTheHolderOfTheLeaseOnly(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		ids := w.happened(3)
		state := w.deliveryState()
		state.ToldTo = ids[1]
		state.Accepted = []models.EventID{ids[0], ids[2]}
		if _, err := w.SaveDeliveries(t.Context(), "node", []models.DeliveryProgress{{State: *state}}); err != models.ErrLeaseLost {
			t.Errorf("without a lease: %v", err)
		}
		w.deliver(models.DeliveryProgress{State: *state})
		stored := w.deliveryState()
		wantIDs(t, "accepted and younger than what was told", stored.Accepted, ids[2:])
		if stored.ToldTo != ids[1] {
			t.Errorf("told to %v, want %v", stored.ToldTo, ids[1])
		}
		if _, err := w.SaveDeliveries(t.Context(), "other", []models.DeliveryProgress{{State: *state}}); err != models.ErrLeaseLost {
			t.Errorf("another node: %v", err)
		}
		w.clock.Advance(2 * time.Minute)
		if _, err := w.SaveDeliveries(t.Context(), "node", []models.DeliveryProgress{{State: *state}}); err != models.ErrLeaseLost {
			t.Errorf("after the lease has expired: %v", err)
		}
	})
}

// What an operator has changed must not be overwritten by a node that has not seen it.
func TestProgressDoesNotOverwriteARedelivery(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		ids := w.happened(4)
		before := w.deliveryState()
		before.ToldTo = ids[1]
		w.deliver(models.DeliveryProgress{State: *before, Put: []models.Delivery{
			{Event: ids[0], Type: "session.created", Attempts: 3, DeadAt: w.Now()}, {Event: ids[1], Type: "session.created", Attempts: 3, NextAt: w.Now()},
		}})
		wantIDs(t, "waiting", w.deliveries(false), ids[1:2])
		wantIDs(t, "given up", w.deliveries(true), ids[:1])
		by := models.Actor{Name: "test", Role: models.RoleMachine}
		must(t, w.RedeliverSince(t.Context(), hooks, ids[1].At(), by))
		state := w.deliveryState()
		if !state.ToldTo.Less(ids[1]) || !ids[0].Less(state.ToldTo) || len(state.Accepted) != 0 {
			t.Errorf("after the redelivery: told to %v, accepted %v", state.ToldTo, state.Accepted)
		}
		wantIDs(t, "waiting, from before the time", w.deliveries(false), nil)
		wantIDs(t, "given up, from before the time", w.deliveries(true), ids[:1])

		stale := *before
		stale.ToldTo = ids[3]
		if changed := w.deliver(models.DeliveryProgress{State: stale, Put: []models.Delivery{{Event: ids[2], Type: "session.created"}}}); !slices.Contains(changed, hooks) {
			t.Errorf("changed: %v", changed)
		}
		if got := w.deliveryState(); got.ToldTo != state.ToldTo || len(w.deliveries(false)) > 0 {
			t.Errorf("a node has overwritten the redelivery: told to %v, waiting %v", got.ToldTo, w.deliveries(false))
		}
		// A time after what was told changes nothing.
		must(t, w.RedeliverSince(t.Context(), hooks, ids[3].At(), by))
		if got := w.deliveryState(); got.ToldTo != state.ToldTo {
			t.Errorf("told to %v, want %v", got.ToldTo, state.ToldTo)
		}
		n, err := w.RedeliverDead(t.Context(), hooks, by)
		must(t, err)
		if again := w.deliveries(false); n != 1 || !slices.Equal(again, ids[:1]) || len(w.deliveries(true)) != 0 {
			t.Errorf("%d are attempted again: %v", n, again)
		}
	})
}

func TestDeliveriesAreGivenUpForAsLongAsTheirEventsAreKept(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		ids := w.happened(2)
		w.clock.Advance(settings.EventRetention / 2)
		ids = append(ids, w.happened(1)...)
		state := w.deliveryState()
		w.deliver(models.DeliveryProgress{State: *state, Put: []models.Delivery{
			{Event: ids[0], Type: "session.created", DeadAt: w.Now()}, {Event: ids[1], Type: "session.created", NextAt: w.Now()}, {Event: ids[2], Type: "session.created", DeadAt: w.Now()},
		}})
		w.prune()
		wantIDs(t, "given up, before the end of the retention", w.deliveries(true), []models.EventID{ids[0], ids[2]})
		w.clock.Advance(settings.EventRetention/2 + time.Minute)
		w.prune()
		wantIDs(t, "given up, whose event is kept", w.deliveries(true), ids[2:])
		wantIDs(t, "waiting, which its node removes", w.deliveries(false), ids[1:2])
	})
}

func TestCountsOfDeliveriesAreBounded(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		for i := range 3 {
			w.exec(fmt.Sprintf(`INSERT INTO event_deliveries (tenant_id, destination_id, event_id, type, attempts, dead_at, status, error, answer)
				WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
				SELECT 'default', 'hooks', CAST(%s AS %s), 'session.created', 1, CASE WHEN i > 3 THEN 1 END, 0, '', '' FROM n`, w.eventIDExpression(i), w.bytesType()))
		}
		waiting, dead, err := w.CountDeliveries(t.Context(), hooks)
		if must(t, err); waiting != 9 || dead != models.ManyDeliveries+1 {
			t.Errorf("%d wait and %d were given up", waiting, dead)
		}
		w.exec("DELETE FROM event_deliveries WHERE dead_at IS NOT NULL AND event_id >= ?", w.deliveries(true)[20][:])
		if _, dead, err := w.CountDeliveries(t.Context(), hooks); err != nil || dead != 20 {
			t.Errorf("%d were given up, %v", dead, err)
		}
	})
}

// eventIDExpression returns SQL for an id of 16 bytes for each i, in block.
func (w *fixture) eventIDExpression(block int) string {
	if w.bytesType() == "BLOB" {
		return fmt.Sprintf("printf('%%016d', %d + i)", block*5000)
	}
	return fmt.Sprintf("convert_to(lpad((%d + i)::text, 16, '0'), 'UTF8')", block*5000)
}

func (w *fixture) bytesType() string {
	if strings.HasPrefix(w.url, "sqlite") {
		return "BLOB"
	}
	return "BYTEA"
}

func TestOnlyDestinationsOfSessionsMayNameUsers(t *testing.T) {
	t.Parallel()
	const hook, push = settings.DestinationWebhook, settings.DestinationPush
	for _, c := range []struct {
		kind   string
		events []string
		want   bool
	}{
		{hook, nil, true}, {push, nil, true}, {hook, []string{"key."}, false}, {hook, []string{"session.ended."}, true}, {push, []string{"session.created"}, true},
		{hook, []string{"client_token.refused"}, true}, {push, []string{"client_token.refused"}, false}, // security events are about sessions
		{hook, []string{"config."}, true}, {push, []string{"config."}, false}, {hook, []string{"client."}, false},
		{hook, []string{"session"}, false}, // a beginning of types ends in a dot
	} {
		d := models.Destination{Settings: settings.DestinationSettings{Type: c.kind, Events: c.events}}
		if got := d.MayNameUsers(); got != c.want {
			t.Errorf("%s of %v: %t", c.kind, c.events, got)
		}
	}
}
