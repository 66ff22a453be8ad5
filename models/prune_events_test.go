package models_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// keepEvents sets events.retention of a tenant.
func keepEvents(spec settings.TenantSpec, retention string) settings.TenantSpec {
	spec.Events = &settings.EventSettings{Retention: duration(retention)}
	return spec
}

// eventsOf returns the types of a tenant's events.
func (w *fixture) eventsOf(tenant string) string {
	w.Helper()
	list, _, err := w.ListEvents(w.Context(), models.EventFilter{Tenant: tenant, Limit: 500})
	must(w, err)
	types := make([]string, len(list))
	for i, e := range list {
		types[i] = string(e.Type)
	}
	return strings.Join(types, " ")
}

func TestEventsAreKeptForTheRetentionOfTheirTenant(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.apply(keepEvents(tenant(), "10d"), keepEvents(settings.TenantSpec{ID: "long"}, "200d"), settings.TenantSpec{ID: "usual"})
		w.exec("DELETE FROM events")
		const kind = models.EventKeyRotated
		for _, id := range []string{acme, "long", "usual", ""} {
			must(t, w.AddEvent(t.Context(), models.Event{At: w.Now(), TenantID: id, Type: kind}))
		}
		for _, c := range []struct {
			after                     time.Duration
			short, long, usual, whole bool
		}{
			{10 * day, true, true, true, true},
			{10*day + time.Second, false, true, true, true},
			{90 * day, false, true, true, true},
			{90*day + time.Second, false, true, false, false},
			{200 * day, false, true, false, false},
			{200*day + time.Second, false, false, false, false},
		} {
			w.clock.Advance(start.Add(c.after).Sub(w.Now()))
			w.prune()
			for id, kept := range map[string]bool{acme: c.short, "long": c.long, "usual": c.usual, "": c.whole} {
				if got := w.eventsOf(id) != ""; got != kept {
					t.Errorf("after %s the event of %q is kept: %t, want %t", c.after, id, got, kept)
				}
			}
		}
	})
}

func TestEventsThatAreStillReadAreKept(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.apply(keepEvents(tenant(), "7d"))
		row := w.create(w.alice(func(n *models.NewSession) {
			n.IdleExpiry, n.AbsoluteExpiry = time.Time{}, start.Add(200*day)
		}))
		w.exec("DELETE FROM events")
		must(t, w.AddEvent(t.Context(), row.Event(w.Now(), models.EventRefreshElsewhere, map[string]any{"generation": 1})))
		revoking := row.Event(w.Now(), models.EventTokenRevoked, nil)
		revoking.Until = w.Now().Add(9 * day)
		must(t, w.AddEvent(t.Context(), revoking))
		w.clock.Advance(8 * day)
		w.prune()
		if got := w.eventsOf(acme); !strings.Contains(got, "refresh_elsewhere") || !strings.Contains(got, "token_revoked") {
			t.Errorf("after 8 days: %s", got)
		}
		w.clock.Advance(2 * day)
		w.prune()
		if got := w.eventsOf(acme); got != "refresh_elsewhere" {
			t.Errorf("after the revocation has expired: %s", got)
		}
		must(t, w.EndSession(t.Context(), row, w.Now(), session.SignedOut))
		w.prune()
		if got := w.eventsOf(acme); strings.Contains(got, "refresh_elsewhere") {
			t.Errorf("after the session has ended: %s", got)
		}
	})
}
