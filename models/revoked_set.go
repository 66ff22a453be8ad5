package models

import "time"

// Issued is an access token as far as a revocation may be about it.
type Issued struct {
	TenantID  string
	ClientID  string
	Subject   string
	SessionID *SessionID // nil: it has none
	TokenID   string     // its jti
	At        time.Time  // its iat
}

// Verdict is what a Tail says of an access token.
type Verdict int

// The verdicts.
const (
	Unknown    Verdict = iota // only the database can tell
	NotRevoked                // nothing was revoked that it is of, as of the last look
	Revoked                   // its session has ended, or it was revoked itself
)

// Verdict judges an access token without the database. It is Unsure if the last
// look is as old as `within` or older, if this node itself may just be revoking
// what the token is of, and of a token that is older than a switch of its
// client, user or tenant, or of any trusted issuer: whether its session is, the
// row alone knows.
func (t *Tail) Verdict(about Issued, within time.Duration) Verdict {
	known := t.known(about, within)
	if known == NotRevoked && t.store.recent.concern(about, t.store.Now()) {
		return Unknown
	}
	return known
}

// known is the verdict by the log alone.
func (t *Tail) known(about Issued, within time.Duration) Verdict {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.stale() != nil || !t.younger(within) {
		return Unknown
	}
	return t.live[about.TenantID].verdict(about)
}

// younger says that the last look began less than so long ago, by the wall
// clock, which goes on while the machine sleeps, and by the monotonic one, which
// nobody sets back.
func (t *Tail) younger(than time.Duration) bool {
	now := t.store.Now()
	age, wall := now.Sub(t.lookedAt), now.Round(0).Sub(t.lookedAt.Round(0))
	return min(age, wall) >= 0 && max(age, wall) < than
}

// revokedSet is what a tail holds of a tenant, found by what a token says.
type revokedSet struct {
	events   map[eventID]*Revocation
	sessions map[SessionID]*Revocation
	tokens   map[string]*Revocation
	switched map[switched]*Revocation // the last of each
}

// switched is what was switched off as a whole. The zero value stands for the
// tenant and for issuers, which no claim names.
type switched struct{ client, subject string }

func newRevokedSet() *revokedSet {
	return &revokedSet{
		events: map[eventID]*Revocation{}, sessions: map[SessionID]*Revocation{},
		tokens: map[string]*Revocation{}, switched: map[switched]*Revocation{},
	}
}

// all are the revocations, by the ids of their events.
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

// remove forgets a revocation; one of the same that was added since stays.
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
