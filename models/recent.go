package models

import (
	"maps"
	"sync"
	"time"
)

// recentFor is longer than a node may take to commit a revocation, and to look
// at the event log again.
const recentFor = time.Minute

// recentRevocations are those that this node has lately begun. Each is noted
// before its statement is sent, so that none is answered, or takes effect, while
// this node does not know of it; whether it was committed, the database says.
type recentRevocations struct {
	mu    sync.RWMutex
	begun map[string]time.Time // by bytes of a session's id, by jti, or by tenant for what is whole
	tidy  time.Time            // when old ones were last forgotten
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
	if n.begun == nil {
		n.begun = map[string]time.Time{}
	}
	if now.Sub(n.tidy) >= recentFor {
		maps.DeleteFunc(n.begun, func(_ string, begun time.Time) bool { return now.Sub(begun) >= recentFor })
		n.tidy = now
	}
	n.begun[name] = now
}

// concern says whether the token may be of what one of them is about.
func (n *recentRevocations) concern(about Issued, now time.Time) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	own, is := n.begun[about.TokenID]
	if about.SessionID != nil {
		own, is = n.begun[string(about.SessionID[:])]
	}
	whole, all := n.begun[about.TenantID]
	return is && now.Sub(own) < recentFor || all && now.Sub(whole) < recentFor
}
