package models

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey/latchkey/settings"
)

const (
	// tailEvery is how often a node looks for new revocations.
	tailEvery = 200 * time.Millisecond
	// tailOverlap is how far before the last look each look begins.
	// Transactions do not commit in the order in which their events are
	// stamped: an event has the time at which its request began to decide, a
	// request may take 10 s in total, and the clocks of nodes may differ by
	// tailSkew.
	tailOverlap = 2*operationTimeout + tailSkew
	tailSkew    = 10 * time.Second
	// tailFullWindow and tailFullEvery cover what exceeds the overlap, such as
	// a node whose clock stood still until it was measured again, or a commit
	// that the network delivered late.
	tailFullWindow = 5 * time.Minute
	tailFullEvery  = 30 * time.Second
)

// Tail follows the revocations in the event log: it holds those that still
// matter, and hands new ones to its subscribers. It is safe for concurrent use.
// Run keeps it fresh.
type Tail struct {
	store *Store

	mu          sync.RWMutex
	epoch       string
	live        map[string]*revokedSet            // by tenant
	subscribers map[string]map[*Subscription]bool // by tenant
	lookedAt    time.Time                         // beginning of the last look that succeeded
	fullScanAt  time.Time                         // beginning of the last full look; zero: the next look is full
	changes     map[string]int                    // by tenant: number of batches
	generation  int                               // number of databases that it has followed
	ended       bool
}

// NewTail returns a tail that has read nothing yet.
func NewTail(s *Store) *Tail {
	return &Tail{store: s, live: map[string]*revokedSet{}, subscribers: map[string]map[*Subscription]bool{}, changes: map[string]int{}}
}

// Run follows the log until ctx ends; then every subscription ends too.
func (t *Tail) Run(ctx context.Context) {
	defer t.end()
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	lost := false
	for {
		err := t.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !lost:
			t.store.log.Warn("cannot follow the event log", "error", err)
		case err == nil && lost:
			t.store.log.Info("following the event log again")
		}
		lost = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Fresh returns a time up to which the tail has found what was committed. It
// returns ErrUnavailable if that is too long ago.
func (t *Tail) Fresh() (asOf time.Time, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.lookedAt, t.stale()
}

// Changes returns a number that differs once more revocations of the tenant
// have become known. It returns ErrUnavailable if the tail is not fresh.
func (t *Tail) Changes(tenant string) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.generation + t.changes[tenant], t.stale()
}

func (t *Tail) stale() error {
	age := t.store.Now().Sub(t.lookedAt)
	switch {
	case t.ended:
		return fmt.Errorf("%w: the event log is no longer followed", ErrUnavailable)
	case t.lookedAt.IsZero():
		return ErrStarting
	case age >= settings.RevocationBound:
		return fmt.Errorf("%w: the event log was last read %s ago", ErrUnavailable, age)
	}
	return nil
}
