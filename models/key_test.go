package models_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

// signingKey is one that signs from its creation.
func signingKey(kid, algorithm string, created time.Time) models.SigningKey {
	return models.SigningKey{
		TenantID: acme, Kid: kid, Algorithm: algorithm, Sealed: []byte("sealed"), RootVersion: 1,
		CreatedAt: models.At(created), ActivatesAt: models.At(created),
	}
}

func (w *world) keys() []models.SigningKey {
	w.Helper()
	keys, err := w.SigningKeys(w.Context(), acme)
	must(w, err)
	return keys
}

// Two nodes that serve a new tenant make its key together.
func TestOneOfManyNodesMakesTheFirstKey(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		nodes := []*models.Store{w.Store, w.another(models.Options{})}
		for round, algorithm := range []string{"RS256", "ES256"} {
			together(16, func(i int) {
				key := signingKey(fmt.Sprint(algorithm, i), algorithm, w.Now())
				if err := nodes[i%2].EnsureSigningKey(t.Context(), key, time.Hour); err != nil {
					t.Error(err)
				}
			})
			if keys := w.keys(); len(keys) != round+1 {
				t.Errorf("%d keys were made", len(keys))
			}
			w.clock.Advance(time.Minute)
		}
	})
}

func TestAKeyOfAnotherAlgorithmIsAnnouncedFirst(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ensure := func(kid, algorithm string) {
			t.Helper()
			must(t, w.EnsureSigningKey(t.Context(), signingKey(kid, algorithm, w.Now()), time.Hour))
		}
		want := map[string]time.Time{"first": w.Now()}
		ensure("first", "RS256")
		w.clock.Advance(time.Minute)
		ensure("same", "RS256")
		want["second"] = w.Now().Add(time.Hour)
		ensure("second", "ES256")
		w.clock.Advance(time.Minute)
		ensure("announced", "ES256") // the newest is not active yet, and stays the only one
		want["back"] = w.Now().Add(time.Hour)
		ensure("back", "RS256")
		got := map[string]time.Time{}
		for _, k := range w.keys() {
			got[k.Kid] = k.ActivatesAt.Time
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("keys sign from %v, want %v", got, want)
		}
	})
}

func TestAKeyReadsBackAsItWasAdded(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		keyless := func(want ...string) {
			t.Helper()
			ids, err := w.TenantsWithoutKey(t.Context())
			must(t, err)
			if fmt.Sprint(ids) != fmt.Sprint(want) {
				t.Errorf("without a key are %q, want %q", ids, want)
			}
		}
		keyless(acme)
		key := signingKey("kid", "Ed25519", start)
		key.Sealed, key.RootVersion = []byte{0, 1, 2, 255}, 1<<32-1
		must(t, w.AddSigningKey(t.Context(), key))
		keyless()
		if got := w.keys(); len(got) != 1 || !reflect.DeepEqual(got[0], key) {
			t.Errorf("read:  %+v\nadded: %+v", got, key)
		}
		if err := w.AddSigningKey(t.Context(), key); !errors.Is(err, models.ErrConflict) {
			t.Errorf("the same key passes again: %v", err)
		}
		w.exec("UPDATE signing_keys SET retired_at = 1")
		if keys := w.config().Keys; len(keys) != 0 || len(w.keys()) != 1 {
			t.Errorf("a retired key is among %v", keys)
		}
		keyless(acme)
		w.exec("UPDATE tenants SET pruned_at = 1")
		keyless()
		for _, tenant := range []string{acme, "nobody"} {
			key.TenantID, key.Kid = tenant, "other"
			if err := w.AddSigningKey(t.Context(), key); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("tenant %s gets a key: %v", tenant, err)
			}
			if err := w.EnsureSigningKey(t.Context(), key, time.Hour); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("tenant %s gets a key: %v", tenant, err)
			}
		}
	})
}
