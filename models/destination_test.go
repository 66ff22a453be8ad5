package models_test

import (
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// A request that changes a destination writes the settings that it has read, if their
// version is still the stored one. With the version of later settings, it would undo
// what another request has changed.
func TestADestinationIsReadWithItsOwnVersion(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		store, stop := w.another(models.Options{}), make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				spec := tenant()
				spec.EventDestinations = []settings.DestinationSpec{{ID: hooks.ID, DestinationSettings: settings.DestinationSettings{
					Type: settings.DestinationPush, URL: "https://receiver.example.com", Description: []string{"a", "b"}[i%2],
				}}}
				if _, err := w.Apply(w.Context(), []settings.TenantSpec{spec}, secrets{}, models.ApplyOptions{Replace: true}); err != nil {
					t.Error(err)
					return
				}
			}
		})
		defer writer.Wait()
		defer close(stop)
		for range 1000 {
			stored, err := store.StoredDestination(t.Context(), hooks.Tenant, hooks.ID)
			must(t, err)
			var written settings.DestinationSettings
			must(t, stored.Settings.Decode(&written))
			if row := stored.Row.Settings.Description; written.Description != row {
				t.Fatalf("the row has the description %q, and the document %q", row, written.Description)
			}
		}
	})
}

// Nodes read the destinations again when their version changes. Their clocks differ, and
// several changes may have one time.
func TestEveryChangeOfADestinationChangesTheVersion(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.withDestination()
		spec := tenant()
		for _, id := range []string{hooks.ID, "other"} {
			spec.EventDestinations = append(spec.EventDestinations, settings.DestinationSpec{ID: id, DestinationSettings: settings.DestinationSettings{
				Type: settings.DestinationPush, URL: "https://receiver.example.com",
			}})
		}
		apply := func() {
			t.Helper()
			_, err := w.Apply(w.Context(), []settings.TenantSpec{spec}, secrets{}, models.ApplyOptions{Replace: true})
			must(t, err)
		}
		apply()
		seen := map[string]bool{}
		changed := func(what string) {
			t.Helper()
			version, err := w.DestinationsVersion(t.Context())
			must(t, err)
			if seen[version] {
				t.Errorf("the version does not show %s", what)
			}
			seen[version] = true
		}
		changed("the two destinations")
		spec.EventDestinations[0].Description = "changed"
		apply()
		changed("a change at the same time")
		w.clock.Advance(-time.Second)
		spec.EventDestinations[0].Description = "changed again"
		apply()
		changed("a change by a clock that is late")
		must(t, w.DisableDestination(t.Context(), hooks.Tenant, hooks.ID, "gone", models.Actor{}))
		changed("that the receiver wants no more")
		must(t, w.EnableDestination(t.Context(), hooks.Tenant, hooks.ID, models.Actor{}))
		changed("that it is enabled again")
	})
}
