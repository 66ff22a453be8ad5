package models_test

import (
	"sync"
	"testing"

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
