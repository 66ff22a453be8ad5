// Package tail follows the revocations in the event log, so that a node knows them
// without asking the database about each token.
package tail

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

const (
	// every is how often a node looks for new revocations. Each look begins
	// models.LateCommit before the last one.
	every = 200 * time.Millisecond
	// fullWindow and fullEvery cover what exceeds that overlap, such as a node
	// whose clock stood still until it was measured again, or a commit that the
	// network delivered late.
	fullWindow = 5 * time.Minute
	fullEvery  = 30 * time.Second
)

// Log is the event log that a tail follows. A *models.Store is one.
type Log interface {
	// Now returns the time of the log.
	Now() time.Time
	// Epoch identifies the database.
	Epoch(ctx context.Context) (string, error)
	// Revocations lists the revocations that still matter.
	Revocations(ctx context.Context, now time.Time) ([]*models.Revocation, error)
	// RevocationsFrom lists those of events at or after `from` that are not known.
	RevocationsFrom(ctx context.Context, now, from time.Time, known func(tenant string, id models.EventID) bool) ([]*models.Revocation, error)
	// MayBeRevoking reports whether this node may just be revoking the token.
	MayBeRevoking(about models.Issued) bool
}

// Tail follows the revocations in the event log: it holds those that still
// matter, and hands new ones to its subscribers. It is safe for concurrent use.
// Run keeps it fresh.
type Tail struct {
	log    Log
	logger *slog.Logger

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

// New returns a tail that has read nothing yet.
func New(log Log, logger *slog.Logger) *Tail {
	return &Tail{log: log, logger: logger, live: map[string]*revokedSet{}, subscribers: map[string]map[*Subscription]bool{}, changes: map[string]int{}}
}

// Run follows the log until ctx ends; then every subscription ends too.
func (t *Tail) Run(ctx context.Context) {
	defer t.end()
	tick := time.NewTicker(every)
	defer tick.Stop()
	lost := false
	for {
		err := t.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !lost:
			t.logger.Warn("cannot follow the event log", "error", err)
		case err == nil && lost:
			t.logger.Info("following the event log again")
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
// returns models.ErrUnavailable if that is too long ago.
func (t *Tail) Fresh() (asOf time.Time, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.lookedAt, t.stale()
}

// Changes returns a number that differs once more revocations of the tenant
// have become known. It returns models.ErrUnavailable if the tail is not fresh.
func (t *Tail) Changes(tenant string) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.generation + t.changes[tenant], t.stale()
}

func (t *Tail) stale() error {
	age := t.log.Now().Sub(t.lookedAt)
	switch {
	case t.ended:
		return fmt.Errorf("%w: the event log is no longer followed", models.ErrUnavailable)
	case t.lookedAt.IsZero():
		return models.ErrStarting
	case age >= settings.RevocationBound:
		return fmt.Errorf("%w: the event log was last read %s ago", models.ErrUnavailable, age)
	}
	return nil
}
