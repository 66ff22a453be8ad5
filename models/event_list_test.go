package models_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// A page is read in batches. These events fill several of them.
func TestPagesContainEveryMatchingEventOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		const all, rare = 1300, 130
		for i := range all {
			w.clock.Advance(time.Millisecond)
			e := models.Event{At: w.Now(), TenantID: "log", Type: models.EventTokenRevoked, ClientID: "web"}
			if i%(all/rare) == 0 {
				e.Type, e.ClientID = models.EventClientTokenMinted, fmt.Sprint("rare-", i)
			}
			must(t, w.AddEvent(t.Context(), e))
		}
		for name, c := range map[string]struct {
			filter models.EventFilter
			want   int
		}{
			"all of them":      {models.EventFilter{Tenant: "log", Limit: 500}, all},
			"of a rare type":   {models.EventFilter{Tenant: "log", Types: []string{string(models.EventClientTokenMinted)}, Limit: 50}, rare},
			"of one client":    {models.EventFilter{Tenant: "log", Client: "rare-0", Limit: 50}, 1},
			"of no client":     {models.EventFilter{Tenant: "log", Client: "nobody", Limit: 50}, 0},
			"the oldest first": {models.EventFilter{Tenant: "log", Types: []string{string(models.EventClientTokenMinted)}, Limit: 50, Newer: new(models.EventID)}, rare},
		} {
			seen, f := map[models.EventID]bool{}, c.filter
			var last models.EventID
			for pages := 0; ; pages++ {
				list, next, err := w.ListEvents(t.Context(), f)
				must(t, err)
				if len(list) > f.Limit || pages > 10 {
					t.Fatalf("%s: page %d has %d events", name, pages, len(list))
				}
				for _, e := range list {
					if seen[e.ID] {
						t.Errorf("%s: %s came twice", name, e.ID)
					}
					if rising := string(e.ID[:]) > string(last[:]); len(seen) > 0 && rising != (f.Newer != nil) {
						t.Errorf("%s: %s is not in order", name, e.ID)
					}
					seen[e.ID], last = true, e.ID
				}
				if next == (models.EventID{}) {
					break
				}
				if f.Newer != nil {
					f.Newer = &next
				} else {
					f.Older = next
				}
			}
			if len(seen) != c.want {
				t.Errorf("%s: %d events, want %d", name, len(seen), c.want)
			}
		}
	})
}

// Each filter finds every event that it matches, although details are only read of
// events that may match.
func TestEventsAreFoundByOutwardAndStoredTypes(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		all := []models.Event{
			{Type: models.EventSessionEnded, Details: map[string]any{"reason": "signed_out"}},
			{Type: models.EventSessionEnded, Details: map[string]any{"reason": "idle"}},
			{Type: models.EventSessionCreated}, {Type: models.EventConfigChanged}, {Type: models.EventClientTokenMinted, ClientID: "web"},
		}
		for _, e := range all {
			w.clock.Advance(time.Second)
			e.At, e.TenantID = w.Now(), "log"
			must(t, w.AddEvent(t.Context(), e))
		}
		for types, want := range map[string]int{
			"": 5, "session_ended": 2, "session.ended.": 2, "session.ended.signed_out": 1, "session.ended.idle": 1, "session.ended.absolute": 0,
			"session.": 3, "session": 0, "session.created": 1, "session_created": 1, "config.": 1, "config.changed": 1, "client_token_minted": 1,
			"session.ended.idle config.changed": 2, "session.ended": 0,
		} {
			list, _, err := w.ListEvents(t.Context(), models.EventFilter{Tenant: "log", Types: strings.Fields(types), Limit: 50})
			must(t, err)
			details := true
			for _, e := range list {
				details = details && (e.Type != models.EventSessionEnded || e.Details["reason"] != nil)
			}
			if len(list) != want || !details {
				t.Errorf("%q: %d events, want %d; with details: %v", types, len(list), want, details)
			}
		}
		list, _, err := w.ListEvents(t.Context(), models.EventFilter{Tenant: "log", Client: "web", Limit: 50})
		if must(t, err); len(list) != 1 {
			t.Errorf("%d events of a client", len(list))
		}
	})
}

func TestCountsThatCannotBeWrittenAreKept(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.AddStat(acme, "exchange.ok")
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.SyncStats(gone, "node"); err == nil {
			t.Fatal("they were written after all")
		}
		w.AddStat(acme, "exchange.ok")
		must(t, w.SyncStats(t.Context(), "node"))
		must(t, w.SyncStats(t.Context(), "node")) // nothing is left to write
		stats, err := w.Stats(t.Context(), nil)
		must(t, err)
		if len(stats) != 2 || stats[0].N != 2 || stats[1].N != 2 {
			t.Errorf("stored %+v, want 2 in the minute and in the day", stats)
		}
	})
}

func TestClientsAreFoundByIDAndName(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		spec := tenant()
		spec.Clients[0].Name = "Kiosk 100%"
		spec.Clients[0].Claims = map[string]string{"needle": "user.needle"}
		spec.Clients = append(spec.Clients, settings.ClientSpec{ID: "Needle", ClientSettings: spec.Clients[0].ClientSettings})
		spec.Clients[len(spec.Clients)-1].Name = ""
		w.apply(spec)
		for match, want := range map[string]string{"kiosk": "web", "100%": "web", "needle": "Needle", "claims": "", "%": "web"} {
			list, _, err := w.StoredClients(t.Context(), acme, "", models.Page{Limit: 10, Match: match})
			must(t, err)
			ids := ""
			for _, c := range list {
				ids += c.Row.ID
			}
			if ids != want {
				t.Errorf("%q finds %q, want %q", match, ids, want)
			}
		}
	})
}
