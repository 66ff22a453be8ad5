package models

import (
	"context"
	"time"
)

// Look reads what is new. Run calls it; it is not for two callers at once.
func (t *Tail) Look(ctx context.Context) error {
	begun := t.store.Now()
	from, far := t.window(begun)
	if far {
		epoch, err := t.store.Epoch(ctx)
		if err != nil {
			return err
		}
		if t.resetFor(epoch) {
			from = time.Time{}
		}
	}
	var found []*Revocation
	var err error
	if from.IsZero() {
		found, err = t.store.Revocations(ctx, begun)
	} else {
		found, err = t.store.revocationsFrom(ctx, begun, from, t.knows)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.fullScanAt = time.Time{} // what went wrong may have held back others as well
		return err
	}
	t.merge(found, begun)
	if far {
		t.fullScanAt = begun
		t.forget(begun)
	}
	return nil
}

// knows says whether an event was found by an earlier look.
func (t *Tail) knows(tenant string, id eventID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	held := t.live[tenant]
	return held != nil && held.events[id] != nil
}

// window says from when on to look, zero: from the beginning.
func (t *Tail) window(now time.Time) (from time.Time, far bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch age := now.Sub(t.fullScanAt); {
	case t.lookedAt.IsZero():
		return time.Time{}, true
	case age < 0 || age >= tailFullEvery:
		return t.lookedAt.Add(-tailFullWindow), true
	default:
		return t.lookedAt.Add(-tailOverlap), false
	}
}

// resetFor notes of which database the tail speaks. After a change it knows
// nothing, and so do its subscribers.
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

// merge adds what is new, in its order, and hands it on. What is found later
// than the overlap allows for, another node may find later still: a position
// of that node must not skip it.
func (t *Tail) merge(found []*Revocation, begun time.Time) {
	batches := map[string][]*Revocation{}
	for _, r := range found {
		held := t.live[r.TenantID]
		if held == nil {
			held = newRevokedSet()
			t.live[r.TenantID] = held
		}
		if held.events[r.id] != nil {
			continue
		}
		if r.known = r.id.moment(); r.known.Before(begun.Add(-tailOverlap)) {
			r.known = begun.Add(tailFullEvery)
		}
		held.add(r)
		batches[r.TenantID] = append(batches[r.TenantID], r)
	}
	before := Position{t.epoch, t.lookedAt}
	t.lookedAt = begun
	for tenant, batch := range batches {
		t.changes[tenant]++
		t.publish(tenant, Batch{before, batch})
	}
}

// forget drops what does not matter any more.
func (t *Tail) forget(now time.Time) {
	for tenant, held := range t.live {
		for _, r := range held.events {
			if !now.Before(r.Until) {
				held.remove(r)
			}
		}
		if len(held.events) == 0 {
			delete(t.live, tenant)
		}
	}
}
