package models_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

func TestALeaseIsHeldByOne(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		take := func(holder string, want bool) {
			t.Helper()
			held, err := w.Lease(t.Context(), "prune", holder, w.Now(), time.Minute)
			must(t, err)
			if held != want {
				t.Errorf("%s holds the lease: %v, want %v", holder, held, want)
			}
		}
		take("a", true)
		take("b", false)
		w.clock.Advance(30 * time.Second)
		take("a", true) // keeps it for another minute
		w.clock.Advance(45 * time.Second)
		take("b", false)
		w.clock.Advance(15 * time.Second)
		take("b", false) // at the very end it is still held
		w.clock.Advance(time.Microsecond)
		take("b", true)
		take("a", false)
		must(t, w.ReleaseLease(t.Context(), "prune", "a")) // it is not a's
		take("a", false)
		must(t, w.ReleaseLease(t.Context(), "another", "b"))
		take("a", false)
		must(t, w.ReleaseLease(t.Context(), "prune", "b"))
		take("a", true)
		if held, err := w.Lease(t.Context(), "other", "a", w.Now(), time.Minute); !held || err != nil {
			t.Errorf("a lease of another name: %v, %v", held, err)
		}
	})
}

func TestOneOfManyTakesAnExpiredLease(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		nodes := []*models.Store{w.Store, w.another(models.Options{})}
		for range 3 { // the first time there is no lease yet
			var holders atomic.Int64
			together(16, func(i int) {
				held, err := nodes[i%2].Lease(t.Context(), "prune", string(rune('a'+i)), w.Now(), time.Minute)
				if err != nil {
					t.Error(err)
				}
				if held {
					holders.Add(1)
				}
			})
			if holders.Load() != 1 {
				t.Errorf("%d of 16 hold the lease", holders.Load())
			}
			w.clock.Advance(2 * time.Minute)
		}
	})
}
