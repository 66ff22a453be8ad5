package models_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// signingKey is one that signs from its creation.
func signingKey(kid, algorithm string, created time.Time) models.SigningKey {
	return models.SigningKey{
		TenantID: acme, Kid: kid, Algorithm: algorithm, Sealed: []byte("sealed"), RootVersion: 1,
		CreatedAt: models.At(created), ActivatesAt: models.At(created),
	}
}

func (w *fixture) keys() []models.SigningKey {
	w.Helper()
	keys, err := w.SigningKeys(w.Context(), acme)
	must(w, err)
	return keys
}

// add puts a key into its tenant's ring.
func (w *fixture) add(k models.SigningKey) error {
	return w.ChangeKeyRing(w.Context(), k.TenantID, w.Now(), models.Event{Type: models.EventKeyRotated}, func([]models.SigningKey) ([]models.SigningKey, error) {
		return []models.SigningKey{k}, nil
	})
}

func TestChangesOfAKeyRingAreSerialized(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		nodes := []*models.Store{w.Store, w.another(models.Options{})}
		together(16, func(i int) {
			err := nodes[i%2].ChangeKeyRing(t.Context(), acme, w.Now(), models.Event{Type: models.EventKeyRotated}, func(ring []models.SigningKey) ([]models.SigningKey, error) {
				if len(ring) > 0 {
					return nil, nil
				}
				return []models.SigningKey{signingKey(fmt.Sprint(i), "RS256", w.Now())}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		if keys := w.keys(); len(keys) != 1 {
			t.Errorf("%d keys were made", len(keys))
		}
	})
}

func TestAChangeOfAKeyRingThatFailsLeavesItAsItWas(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before := w.revision(acme)
		refusal := errors.New("no")
		err := w.ChangeKeyRing(t.Context(), acme, w.Now(), models.Event{Type: models.EventKeyRotated}, func([]models.SigningKey) ([]models.SigningKey, error) {
			return []models.SigningKey{signingKey("k", "RS256", w.Now())}, refusal
		})
		if !errors.Is(err, refusal) || len(w.keys()) != 0 || w.revision(acme) != before {
			t.Errorf("%v, %d keys", err, len(w.keys()))
		}
	})
}

func TestKeysAreDueByAbsenceAlgorithmAndAge(t *testing.T) {
	const day = 24 * time.Hour
	each(t, func(t *testing.T, w *fixture) {
		due := func(by time.Time) string {
			t.Helper()
			list, err := w.KeysDue(t.Context(), by)
			must(t, err)
			return fmt.Sprint(list)
		}
		rotate := func(d *settings.Duration, algorithm string) {
			t.Helper()
			spec := tenant()
			spec.KeyRotation, spec.SigningAlgorithm = d, algorithm
			w.apply(spec)
		}
		if got := due(start); got != "[{default RS256  }]" {
			t.Errorf("without a key: %s", got)
		}
		must(t, w.add(signingKey("old", "RS256", start.Add(-day))))
		must(t, w.add(signingKey("first", "RS256", start)))
		for by, want := range map[time.Duration]string{90*day - time.Microsecond: "[]", 90 * day: "[{default RS256 first RS256}]"} {
			if got := due(start.Add(by)); got != want {
				t.Errorf("after %s: %s, want %s", by, got, want)
			}
		}
		week, none := settings.Duration(7*day), settings.Duration(session.NoIdleTimeout)
		rotate(&week, "RS256")
		for by, want := range map[time.Duration]string{7*day - time.Microsecond: "[]", 7 * day: "[{default RS256 first RS256}]"} {
			if got := due(start.Add(by)); got != want {
				t.Errorf("every week, after %s: %s, want %s", by, got, want)
			}
		}
		rotate(&none, "RS256")
		if got := due(start.Add(1000 * day)); got != "[]" {
			t.Errorf("never: %s", got)
		}
		rotate(&none, "ES256")
		if got := due(start); got != "[{default ES256 first RS256}]" {
			t.Errorf("another algorithm: %s", got)
		}
		must(t, w.add(signingKey("second", "ES256", start.Add(time.Hour))))
		if got := due(start); got != "[]" {
			t.Errorf("announced: %s", got)
		}
		w.exec("UPDATE signing_keys SET retired_at = 1 WHERE kid = 'second'")
		if got := due(start); got != "[{default ES256 first RS256}]" {
			t.Errorf("a retired key counts: %s", got)
		}
		w.exec("UPDATE tenants SET pruned_at = 1")
		if got := due(start); got != "[]" {
			t.Errorf("a tenant that is gone: %s", got)
		}
	})
}

func TestAKeyIsDeletedOnlyWhenItsLastTokenHasExpired(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		replaced := start.Add(time.Hour)
		must(t, w.add(signingKey("first", "RS256", start)))
		must(t, w.add(signingKey("second", "RS256", replaced)))
		for _, row := range []struct {
			after time.Duration // the second began to sign
			want  string
		}{{0, "sealed sealed"}, {session.MaxAccessTTL + 30*time.Second, "sealed sealed"}, {session.Retention, "sealed sealed"}, {session.Retention + time.Microsecond, " sealed"}} {
			must(t, w.ExpireSigningKeys(t.Context(), replaced.Add(row.after)))
			keys := w.keys()
			if got := string(keys[0].Sealed) + " " + string(keys[1].Sealed); got != row.want || keys[0].RetiredAt.IsZero() != (row.want != " sealed") {
				t.Errorf("after %s: %q, retired at %v", row.after, got, keys[0].RetiredAt)
			}
		}
		if keys := w.config().Keys; len(keys) != 1 || keys[0].Kid != "second" {
			t.Errorf("in service: %v", keys)
		}
	})
}

func TestAKeyIsReadBackAsItWasAdded(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
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
		must(t, w.add(key))
		keyless()
		if got := w.keys(); len(got) != 1 || !reflect.DeepEqual(got[0], key) {
			t.Errorf("read:  %+v\nadded: %+v", got, key)
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
			if err := w.add(key); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("tenant %s gets a key: %v", tenant, err)
			}
		}
	})
}
