package oauth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/latchkey/latchkey/models"
)

const (
	// statusPause is the least time between two buildings of a list: what is
	// revoked shows so much later, and no storm of revocations or callers makes a
	// node read the list more often.
	statusRebuildInterval = time.Second
	// statusPatience is how long a caller waits for a newer list when there is one
	// that may still be served.
	statusWait = 2 * time.Second
	// statusBuilding is how long a building may take.
	statusBuildTimeout = 10 * time.Second
)

// statusLists are the lists that a node has built. The zero value has none.
type statusLists struct {
	mu    sync.Mutex
	known map[statusKey]*statusSlot
}

type statusKey struct {
	tenant string
	list   int64
}

// statusSlot is one list.
type statusSlot struct {
	latest *statusToken // nil: none yet
	next   *statusBuild // nil: nobody waits for one
	failed time.Time    // when a building last did
}

// statusBuild is a building that several callers wait for.
type statusBuild struct {
	done  chan struct{}
	token *statusToken
	err   error
}

// statusList is a list as of statusPause ago or, as long as this node knows of
// nothing that was revoked since, statusTTL. One that cannot be built anew is
// served as it was until it expires. models.ErrNotFound: there is none.
func (s *Server) statusList(ctx context.Context, t *Tenant, list int64) (*statusToken, error) {
	latest, next := s.lookUpStatusList(t, list)
	if next == nil {
		return latest, nil
	}
	var patience <-chan time.Time // endless, where there is nothing to fall back on
	if latest != nil {
		timer := time.NewTimer(statusWait)
		defer timer.Stop()
		patience = timer.C
	}
	err := error(nil)
	select {
	case <-next.done:
		if err = next.err; err == nil {
			return next.token, nil
		}
	case <-patience:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if latest == nil || errors.Is(err, models.ErrNotFound) {
		return nil, err
	}
	return latest, nil
}

// lookUpStatusList is the list that this node has, unless it has expired, and,
// unless that one will do, the building of the next.
func (s *Server) lookUpStatusList(t *Tenant, list int64) (latest *statusToken, next *statusBuild) {
	s.statusLists.mu.Lock()
	defer s.statusLists.mu.Unlock()
	key, now := statusKey{t.ID, list}, s.now()
	slot := s.statusLists.known[key]
	if slot == nil {
		if s.statusLists.known == nil {
			s.statusLists.known = map[statusKey]*statusSlot{}
		}
		slot = &statusSlot{}
		s.statusLists.known[key] = slot
	}
	if slot.latest != nil && now.Before(slot.latest.exp) {
		latest = slot.latest
		if s.isCurrent(t, latest, now) || within(statusRebuildInterval, slot.failed, now) {
			return latest, nil
		}
	}
	if slot.next == nil {
		slot.next = &statusBuild{done: make(chan struct{})}
		go s.runStatusBuild(t, key, slot)
	}
	return latest, slot.next
}

// isCurrent says whether a list may be served without another look.
func (s *Server) isCurrent(t *Tenant, token *statusToken, now time.Time) bool {
	key, err := t.ring.active(now)
	if err != nil || key.kid != token.kid { // a key that was retired serves nobody
		return false
	}
	changes, err := s.tail.Changes(t.ID)
	unchanged := err == nil && changes == token.changes
	return within(statusRebuildInterval, token.asOf, now) || unchanged && within(statusTTL, token.asOf, now)
}

// within says whether now is less than a span after a moment.
func within(span time.Duration, moment, now time.Time) bool {
	age := now.Sub(moment)
	return age >= 0 && age < span
}

// build builds a list for all who wait for it, whoever goes away meanwhile, and
// forgets the lists that nobody has asked for.
func (s *Server) runStatusBuild(t *Tenant, key statusKey, slot *statusSlot) {
	ctx, cancel := context.WithTimeout(context.Background(), statusBuildTimeout)
	defer cancel()
	token, err := s.buildStatusList(ctx, t, key.list)
	s.statusLists.mu.Lock()
	defer s.statusLists.mu.Unlock()
	build, now := slot.next, s.now()
	build.token, build.err, slot.next = token, err, nil
	close(build.done)
	switch {
	case errors.Is(err, models.ErrNotFound):
		slot.latest = nil
	case err != nil:
		slot.failed = now
		s.log.Warn("cannot build a status list", "tenant", key.tenant, "list", key.list, "error", err)
	default:
		slot.latest, slot.failed = token, time.Time{}
	}
	for key, slot := range s.statusLists.known {
		if slot.next == nil && (slot.latest == nil || !now.Before(slot.latest.exp)) {
			delete(s.statusLists.known, key)
		}
	}
}
