package resource

import (
	"errors"
	"maps"
	"sync"
	"time"
)

// revokedEntry is an entry of the feed. It revokes one session, one token
// without a session, or everything that was issued before a moment to a client,
// for a user, or on the word of a trusted issuer.
type revokedEntry struct {
	SID      string `json:"sid"`
	JTI      string `json:"jti"`
	ClientID string `json:"client_id"`
	Issuer   string `json:"issuer"`
	Sub      string `json:"sub"`
	Before   int64  `json:"before"`
	Until    int64  `json:"until"` // when the last token that it revokes has expired
}

// check rejects an entry that would be removed at once.
func (e revokedEntry) check() error {
	if e.Until <= 0 {
		return errors.New("an entry has no until")
	}
	return nil
}

// bound revokes tokens that were issued before a moment.
type bound struct {
	before, until int64
	learned       time.Time // when this verifier learned of the bound
}

// revokedSet holds the revocations of the feed. Entries stay until they expire,
// because a snapshot after an interruption contains only newer ones.
type revokedSet struct {
	mu        sync.RWMutex
	sessions  map[string]int64 // until
	tokens    map[string]int64
	clients   map[string]bound
	subjects  map[string]bound
	unmatched map[string]bound // by trusted issuer: no claim of a token names it
}

func newRevokedSet() *revokedSet {
	return &revokedSet{
		sessions: map[string]int64{}, tokens: map[string]int64{},
		clients: map[string]bound{}, subjects: map[string]bound{}, unmatched: map[string]bound{},
	}
}

// add adds entries. Repeated entries are harmless.
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
		default: // a trusted issuer, or a kind that only newer servers know: it may affect any token
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

// revokes reports whether an entry matches a claim of the token.
func (s *revokedSet) revokes(t *Token) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	iat := t.IssuedAt.Unix()
	return t.SessionID != "" && s.sessions[t.SessionID] != 0 || s.tokens[t.ID] != 0 ||
		iat < s.subjects[t.Subject].before || iat < s.clients[t.ClientID].before
}

// mayRevoke reports whether the token may be affected by an entry that no claim
// can be matched with, and since when that entry has been known.
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

// prune removes expired entries.
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

// size returns the number of entries.
func (s *revokedSet) size() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.sessions) + len(s.tokens) + len(s.clients) + len(s.subjects) + len(s.unmatched)
}
