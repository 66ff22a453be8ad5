package models

import "time"

// Issued is an access token, as far as a revocation can refer to it.
type Issued struct {
	TenantID  string
	ClientID  string
	Subject   string
	SessionID *SessionID // nil: none
	TokenID   string     // its jti
	At        time.Time  // its iat
}

// Verdict is what a Tail knows about an access token.
type Verdict int

// The verdicts.
const (
	Unknown    Verdict = iota // only the database can decide
	NotRevoked                // no revocation affects it, as of the last look
	Revoked                   // its session has ended, or it was revoked itself
)

// Verdict judges an access token without the database. It returns Unknown in
// three cases: the last look is at least `within` old; this node may just be
// revoking the token itself; or the token predates a disable or enable of its
// client, user or tenant, or of any trusted issuer, so that only the session
// row can tell whether the session is affected.
func (t *Tail) Verdict(about Issued, within time.Duration) Verdict {
	known := t.known(about, within)
	if known == NotRevoked && t.store.recent.mayConcern(about, t.store.Now()) {
		return Unknown
	}
	return known
}

// known returns the verdict of the event log alone.
func (t *Tail) known(about Issued, within time.Duration) Verdict {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.stale() != nil || !t.lookedWithin(within) {
		return Unknown
	}
	return t.live[about.TenantID].verdict(about)
}

// lookedWithin reports whether the last look began less than d ago, by the wall
// clock, which continues while the machine sleeps, and by the monotonic clock,
// which nobody sets back.
func (t *Tail) lookedWithin(d time.Duration) bool {
	now := t.store.Now()
	age, wall := now.Sub(t.lookedAt), now.Round(0).Sub(t.lookedAt.Round(0))
	return min(age, wall) >= 0 && max(age, wall) < d
}

// revokedSet holds the revocations of one tenant, indexed by the claims of a
// token.
type revokedSet struct {
	events   map[eventID]*Revocation
	sessions map[SessionID]*Revocation
	tokens   map[string]*Revocation
	switched map[switched]*Revocation // the latest of each
}

// switched identifies an object that was disabled as a whole. The zero value is
// the tenant and all issuers, which no claim names.
type switched struct{ client, subject string }

func newRevokedSet() *revokedSet {
	return &revokedSet{
		events: map[eventID]*Revocation{}, sessions: map[SessionID]*Revocation{},
		tokens: map[string]*Revocation{}, switched: map[switched]*Revocation{},
	}
}

// all returns the revocations by the ids of their events.
func (s *revokedSet) all() map[eventID]*Revocation {
	if s == nil {
		return nil
	}
	return s.events
}

func (s *revokedSet) verdict(about Issued) Verdict {
	switch {
	case s == nil:
		return NotRevoked
	case about.SessionID != nil && s.sessions[*about.SessionID] != nil,
		about.SessionID == nil && s.tokens[about.TokenID] != nil:
		return Revoked
	}
	for _, of := range [...]switched{{}, {client: about.ClientID}, {subject: about.Subject}} {
		if r := s.switched[of]; r != nil && about.At.Before(r.Before) {
			return Unknown
		}
	}
	return NotRevoked
}

func (s *revokedSet) add(r *Revocation) {
	s.events[r.id] = r
	switch {
	case r.SessionID != nil:
		s.sessions[*r.SessionID] = r
	case r.TokenID != "":
		s.tokens[r.TokenID] = r
	default:
		if last := s.switched[r.switched()]; last == nil || last.Before.Before(r.Before) {
			s.switched[r.switched()] = r
		}
	}
}

// remove removes a revocation. A later one of the same object stays.
func (s *revokedSet) remove(r *Revocation) {
	delete(s.events, r.id)
	switch {
	case r.SessionID != nil:
		removeSame(s.sessions, *r.SessionID, r)
	case r.TokenID != "":
		removeSame(s.tokens, r.TokenID, r)
	default:
		removeSame(s.switched, r.switched(), r)
	}
}

func removeSame[K comparable](from map[K]*Revocation, key K, r *Revocation) {
	if from[key] == r {
		delete(from, key)
	}
}

func (r *Revocation) switched() switched {
	switch {
	case r.Subject != "":
		return switched{subject: r.Subject}
	case r.Issuer != "":
		return switched{}
	default:
		return switched{client: r.ClientID}
	}
}
