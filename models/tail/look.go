package tail

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/models"
)

// Look reads what is new. Run calls it; it must not be called concurrently.
func (t *Tail) Look(ctx context.Context) error {
	begun := t.log.Now()
	from, full := t.window(begun)
	if full {
		epoch, err := t.log.Epoch(ctx)
		if err != nil {
			return err
		}
		if t.resetFor(epoch) {
			from = time.Time{}
		}
	}
	var found []*models.Revocation
	var err error
	if from.IsZero() {
		found, err = t.log.Revocations(ctx, begun)
	} else {
		found, err = t.log.RevocationsFrom(ctx, begun, from, t.knows)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.fullScanAt = time.Time{} // the same failure may have delayed other commits
		return err
	}
	t.merge(found, begun)
	if full {
		t.fullScanAt = begun
		t.forget(begun)
	}
	return nil
}

// knows reports whether an earlier look found the event.
func (t *Tail) knows(tenant string, id models.EventID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	held := t.live[tenant]
	return held != nil && held.has(id)
}

// window returns from when on to look, or the zero time to read everything, and
// whether the look is a full one.
func (t *Tail) window(now time.Time) (from time.Time, full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch age := now.Sub(t.fullScanAt); {
	case t.lookedAt.IsZero():
		return time.Time{}, true
	case age < 0 || age >= fullEvery:
		return t.lookedAt.Add(-fullWindow), true
	default:
		return t.lookedAt.Add(-models.LateCommit), false
	}
}

// resetFor sets the epoch of the database that the tail follows. If it is
// another database, the tail forgets everything and drops its subscribers.
func (t *Tail) resetFor(epoch string) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if changed = epoch != t.epoch; changed {
		t.dropAll()
		t.epoch, t.lookedAt, t.generation = epoch, time.Time{}, t.generation+1
		clear(t.live)
	}
	return changed
}

// merge adds what is new, in order, and publishes it. What is found later than
// the overlap allows for, another node may find later still: a position of that
// node must not skip it.
func (t *Tail) merge(found []*models.Revocation, begun time.Time) {
	batches := map[string][]*models.Revocation{}
	for _, r := range found {
		held := t.live[r.TenantID]
		if held == nil {
			held = newRevokedSet()
			t.live[r.TenantID] = held
		}
		if held.has(r.ID) {
			continue
		}
		known := r.ID.At()
		if known.Before(begun.Add(-models.LateCommit)) {
			known = begun.Add(fullEvery)
		}
		held.add(event{r, known})
		batches[r.TenantID] = append(batches[r.TenantID], r)
	}
	before := Position{t.epoch, t.lookedAt}
	t.lookedAt = begun
	for tenant, batch := range batches {
		t.changes[tenant]++
		t.publish(tenant, Batch{before, batch})
	}
}

// forget drops revocations that no longer matter.
func (t *Tail) forget(now time.Time) {
	for tenant, held := range t.live {
		for _, r := range held.events {
			if !now.Before(r.Until) {
				held.remove(r.Revocation)
			}
		}
		if len(held.events) == 0 {
			delete(t.live, tenant)
		}
	}
}
