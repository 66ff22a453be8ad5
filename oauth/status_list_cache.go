package oauth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/latchkey/latchkey/models"
)

const (
	// statusRebuildInterval is the minimum time between two builds of a list. A
	// revocation may appear that much later, but no number of revocations or
	// callers makes a node read the list more often.
	statusRebuildInterval = time.Second
	// statusWait bounds how long a caller waits for a newer list if there is
	// one that may still be served.
	statusWait = 2 * time.Second
	// statusBuildTimeout bounds the time of a build.
	statusBuildTimeout = 10 * time.Second
)

// statusLists holds the lists that a node has built. The zero value is empty.
type statusLists struct {
	mu    sync.Mutex
	known map[statusKey]*statusSlot
}

// statusKey identifies a list.
type statusKey struct {
	tenant string
	list   int64
}

// statusSlot is one list.
type statusSlot struct {
	latest *statusToken // nil: it has not been built
	next   *statusBuild // the current build; nil: there is none
	failed time.Time    // when a build last failed
}

// statusBuild is a build that several callers wait for.
type statusBuild struct {
	done  chan struct{}
	token *statusToken
	err   error
}

// statusList returns a list that was built less than statusRebuildInterval ago
// or, if this node knows of no revocation since then, less than statusTTL ago.
// A list that cannot be rebuilt is served until it expires. The error is
// models.ErrNotFound if there is no such list.
func (s *Server) statusList(ctx context.Context, t *Tenant, list int64) (*statusToken, error) {
	latest, next := s.lookUpStatusList(t, list)
	if next == nil {
		return latest, nil
	}
	var timeout <-chan time.Time // nil, and so without a limit, if there is no older list to serve
	if latest != nil {
		timer := time.NewTimer(statusWait)
		defer timer.Stop()
		timeout = timer.C
	}
	err := error(nil)
	select {
	case <-next.done:
		if err = next.err; err == nil {
			return next.token, nil
		}
	case <-timeout:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if latest == nil || errors.Is(err, models.ErrNotFound) {
		return nil, err
	}
	return latest, nil
}

// lookUpStatusList returns the cached list unless it has expired, and the build
// of the next one unless the cached list is current.
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

// isCurrent reports whether a list may be served without a rebuild.
func (s *Server) isCurrent(t *Tenant, token *statusToken, now time.Time) bool {
	kid, err := t.ring.Active(now)
	if err != nil || kid != token.kid { // its key may have been retired
		return false
	}
	changes, err := s.tail.Changes(t.ID)
	unchanged := err == nil && changes == token.changes
	return within(statusRebuildInterval, token.asOf, now) || unchanged && within(statusTTL, token.asOf, now)
}

// within reports whether now is less than span after a point in time.
func within(span time.Duration, moment, now time.Time) bool {
	age := now.Sub(moment)
	return age >= 0 && age < span
}

// runStatusBuild builds a list for all callers that wait for it, even if some
// stop waiting, and removes expired lists.
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
