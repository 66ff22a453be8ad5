package resource

import (
	"errors"
	"maps"
	"sync"
	"time"
)

// revokedEntry is one entry of the feed: it names a session, a token without
// one, or everything issued before a moment to a client, for a user, or by the
// word of a trusted issuer.
type revokedEntry struct {
	SID      string `json:"sid"`
	JTI      string `json:"jti"`
	ClientID string `json:"client_id"`
	Issuer   string `json:"issuer"`
	Sub      string `json:"sub"`
	Before   int64  `json:"before"`
	Until    int64  `json:"until"` // when no token that it concerns is accepted any more
}

// check refuses an entry that would be forgotten at once.
func (e revokedEntry) check() error {
	if e.Until <= 0 {
		return errors.New("an entry without its end")
	}
	return nil
}

// bound revokes what was issued before a moment.
type bound struct {
	before, until int64
	learned       time.Time // since when the bound has been known here
}

// revokedSet is what the feed has told. An entry stays until its own end:
// a snapshot after an interruption only tells what came since.
type revokedSet struct {
	mu        sync.RWMutex
	sessions  map[string]int64 // until
	tokens    map[string]int64
	clients   map[string]bound
	subjects  map[string]bound
	unmatched map[string]bound // by the trusted issuer: no claim of a token names it
}

func newRevokedSet() *revokedSet {
	return &revokedSet{
		sessions: map[string]int64{}, tokens: map[string]int64{},
		clients: map[string]bound{}, subjects: map[string]bound{}, unmatched: map[string]bound{},
	}
}

// add takes entries in. Repetitions are harmless.
func (s *revokedSet) add(entries []revokedEntry, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		switch {
		case e.SID != "":
			s.sessions[e.SID] = max(s.sessions[e.SID], e.Until)
		case e.JTI != "":
			s.tokens[e.JTI] = max(s.tokens[e.JTI], e.Until)
		case e.Sub != "":
			widen(s.subjects, e.Sub, e, now)
		case e.ClientID != "":
			widen(s.clients, e.ClientID, e, now)
		default: // an issuer, or something that later servers tell: who knows whose tokens it means
			widen(s.unmatched, e.Issuer, e, now)
		}
	}
}

func widen(bounds map[string]bound, key string, e revokedEntry, now time.Time) {
	b := bounds[key]
	if e.Before > b.before {
		b.before, b.learned = e.Before, now
	}
	b.until = max(b.until, e.Until)
	bounds[key] = b
}

// revokes says whether an entry names the token by one of its claims.
func (s *revokedSet) revokes(t *Token) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	iat := t.IssuedAt.Unix()
	return t.SessionID != "" && s.sessions[t.SessionID] != 0 || s.tokens[t.ID] != 0 ||
		iat < s.subjects[t.Subject].before || iat < s.clients[t.ClientID].before
}

// mayRevoke says since when it has been known that the token may be of something
// that was revoked and that no claim names; false: it is not.
func (s *revokedSet) mayRevoke(t *Token) (since time.Time, doubted bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, b := range s.unmatched {
		if t.IssuedAt.Unix() < b.before && (!doubted || b.learned.After(since)) {
			since, doubted = b.learned, true
		}
	}
	return since, doubted
}

// prune forgets what is over.
func (s *revokedSet) prune(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range []map[string]int64{s.sessions, s.tokens} {
		maps.DeleteFunc(m, func(_ string, until int64) bool { return now.Unix() >= until })
	}
	for _, m := range []map[string]bound{s.clients, s.subjects, s.unmatched} {
		maps.DeleteFunc(m, func(_ string, b bound) bool { return now.Unix() >= b.until })
	}
}

// size is the number of entries.
func (s *revokedSet) size() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.sessions) + len(s.tokens) + len(s.clients) + len(s.subjects) + len(s.unmatched)
}
