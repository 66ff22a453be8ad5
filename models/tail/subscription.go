package tail

import (
	"bytes"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
)

// subscriptionBuffer is how many looks a subscriber may lag behind before it is
// dropped. All subscribers share a batch, so a burst of revocations takes one
// place of each buffer.
const subscriptionBuffer = 64

// Position is how far a reader has read the log.
type Position struct {
	Epoch string
	At    time.Time
}

// Snapshot is what the tail knows about one tenant.
type Snapshot struct {
	Position    Position
	AsOf        time.Time
	Revocations []*models.Revocation // in the order of their events; must not be changed
}

// Batch is what one look found.
type Batch struct {
	Before      Position // position of the tail before the look
	Revocations []*models.Revocation
}

// Subscription delivers the revocations of a tenant as they become known.
type Subscription struct {
	C <-chan Batch // closed when the subscription ends or its reader is too slow

	c      chan Batch
	tail   *Tail
	tenant string
}

// Revoked returns the revocations of a tenant that have become known since a
// position, or all that still matter if the position is not one of this
// database. It may repeat revocations, but skips none. It returns
// models.ErrUnavailable if the tail is not fresh.
func (t *Tail) Revoked(tenant string, since Position) (*Snapshot, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.snapshot(tenant, since)
}

// Position returns how far the tail has read, and whether a reader at the
// position since needs everything that still matters. It returns models.ErrUnavailable
// if the tail is not fresh.
func (t *Tail) Position(since Position) (at Position, everything bool, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return Position{t.epoch, t.lookedAt}, t.foreign(since), t.stale()
}

// foreign reports whether a position is not one of this database.
func (t *Tail) foreign(since Position) bool {
	return since.Epoch != t.epoch || since.At.After(t.lookedAt.Add(models.ClockSkew))
}

// Subscribe is Revoked together with a subscription to everything after it. The
// caller must close the subscription.
func (t *Tail) Subscribe(tenant string, since Position) (*Snapshot, *Subscription, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	snapshot, err := t.snapshot(tenant, since)
	if err != nil {
		return nil, nil, err
	}
	s := &Subscription{c: make(chan Batch, subscriptionBuffer), tail: t, tenant: tenant}
	s.C = s.c
	if t.subscribers[tenant] == nil {
		t.subscribers[tenant] = map[*Subscription]bool{}
	}
	t.subscribers[tenant][s] = true
	return snapshot, s, nil
}

func (t *Tail) snapshot(tenant string, since Position) (*Snapshot, error) {
	if err := t.stale(); err != nil {
		return nil, err
	}
	now, from := t.log.Now(), since.At.Add(-models.LateCommit)
	if t.foreign(since) {
		from = time.Time{}
	}
	s := &Snapshot{Position: Position{t.epoch, t.lookedAt}, AsOf: t.lookedAt}
	for _, r := range t.live[tenant].all() {
		if now.Before(r.Until) && !r.known.Before(from) {
			s.Revocations = append(s.Revocations, r.Revocation)
		}
	}
	slices.SortFunc(s.Revocations, func(a, b *models.Revocation) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return s, nil
}

// publish sends a batch to the subscribers of a tenant without waiting. A
// subscriber that does not keep up is dropped, and can return with its
// position.
func (t *Tail) publish(tenant string, b Batch) {
	for s := range t.subscribers[tenant] {
		select {
		case s.c <- b:
		default:
			t.drop(s)
		}
	}
}

// drop ends a subscription. What is in its buffer can still be read.
func (t *Tail) drop(s *Subscription) {
	if t.subscribers[s.tenant][s] {
		delete(t.subscribers[s.tenant], s)
		close(s.c)
	}
	if len(t.subscribers[s.tenant]) == 0 {
		delete(t.subscribers, s.tenant)
	}
}

func (t *Tail) dropAll() {
	for _, subscribers := range t.subscribers {
		for s := range subscribers {
			t.drop(s)
		}
	}
}

// end ends every subscription and prevents new ones.
func (t *Tail) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.dropAll()
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.tail.mu.Lock()
	defer s.tail.mu.Unlock()
	s.tail.drop(s)
}
