package models

import (
	"maps"
	"sync"
	"time"
)

// Issued is an access token, as far as a revocation can refer to it.
type Issued struct {
	TenantID  string
	ClientID  string
	Subject   string
	SessionID *SessionID // nil: none
	TokenID   string     // its jti
	At        time.Time  // its iat
}

// recentFor is longer than a node may take to commit a revocation and to read
// the event log again.
const recentFor = time.Minute

// recentRevocations are the revocations that this node has recently started.
// Each is recorded before its statement is sent, so that none is answered or
// takes effect before this node knows of it. Whether it was committed, only the
// database knows.
type recentRevocations struct {
	mu        sync.RWMutex
	startedAt map[string]time.Time // by session id as bytes, by jti, or by tenant for whole objects
	cleanedAt time.Time            // when old entries were last removed
}

func (n *recentRevocations) note(e Event, now time.Time) {
	if e.Until.IsZero() {
		return
	}
	name := e.TenantID
	if jti, one := e.Details["jti"].(string); one {
		name = jti
	} else if e.SessionID != nil {
		name = string(e.SessionID[:])
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.startedAt == nil {
		n.startedAt = map[string]time.Time{}
	}
	if now.Sub(n.cleanedAt) >= recentFor {
		maps.DeleteFunc(n.startedAt, func(_ string, begun time.Time) bool { return now.Sub(begun) >= recentFor })
		n.cleanedAt = now
	}
	n.startedAt[name] = now
}

// mayConcern reports whether one of them may affect the token.
func (n *recentRevocations) mayConcern(about Issued, now time.Time) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	own, is := n.startedAt[about.TokenID]
	if about.SessionID != nil {
		own, is = n.startedAt[string(about.SessionID[:])]
	}
	whole, all := n.startedAt[about.TenantID]
	return is && now.Sub(own) < recentFor || all && now.Sub(whole) < recentFor
}

// MayBeRevoking reports whether this node may just be revoking the token.
func (s *Store) MayBeRevoking(about Issued) bool { return s.recent.mayConcern(about, s.Now()) }
