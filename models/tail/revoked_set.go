package tail

import (
	"time"

	"github.com/latchkey/latchkey/models"
)

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
func (t *Tail) Verdict(about models.Issued, within time.Duration) Verdict {
	known := t.known(about, within)
	if known == NotRevoked && t.log.MayBeRevoking(about) {
		return Unknown
	}
	return known
}

// known returns the verdict of the event log alone.
func (t *Tail) known(about models.Issued, within time.Duration) Verdict {
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
	now := t.log.Now()
	age, wall := now.Sub(t.lookedAt), now.Round(0).Sub(t.lookedAt.Round(0))
	return min(age, wall) >= 0 && max(age, wall) < d
}

// revokedSet holds the revocations of one tenant, indexed by the claims of a
// token.
type revokedSet struct {
	events   map[models.EventID]event
	sessions map[models.SessionID]*models.Revocation
	tokens   map[string]*models.Revocation
	switched map[switched]*models.Revocation // the latest of each
}

// event is a revocation with the latest time at which a node that follows the log
// received it.
type event struct {
	*models.Revocation
	known time.Time
}

// switched identifies an object that was disabled as a whole. The zero value is
// the tenant and all issuers, which no claim names.
type switched struct{ client, subject string }

func newRevokedSet() *revokedSet {
	return &revokedSet{
		events: map[models.EventID]event{}, sessions: map[models.SessionID]*models.Revocation{},
		tokens: map[string]*models.Revocation{}, switched: map[switched]*models.Revocation{},
	}
}

// all returns the revocations by the ids of their events.
func (s *revokedSet) all() map[models.EventID]event {
	if s == nil {
		return nil
	}
	return s.events
}

// has reports whether the set contains the event.
func (s *revokedSet) has(id models.EventID) bool {
	_, is := s.events[id]
	return is
}

func (s *revokedSet) verdict(about models.Issued) Verdict {
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

func (s *revokedSet) add(e event) {
	r := e.Revocation
	s.events[r.ID] = e
	switch {
	case r.SessionID != nil:
		s.sessions[*r.SessionID] = r
	case r.TokenID != "":
		s.tokens[r.TokenID] = r
	default:
		if last := s.switched[switchedBy(r)]; last == nil || last.Before.Before(r.Before) {
			s.switched[switchedBy(r)] = r
		}
	}
}

// remove removes a revocation. A later one of the same object stays.
func (s *revokedSet) remove(r *models.Revocation) {
	delete(s.events, r.ID)
	switch {
	case r.SessionID != nil:
		removeSame(s.sessions, *r.SessionID, r)
	case r.TokenID != "":
		removeSame(s.tokens, r.TokenID, r)
	default:
		removeSame(s.switched, switchedBy(r), r)
	}
}

func removeSame[K comparable](from map[K]*models.Revocation, key K, r *models.Revocation) {
	if from[key] == r {
		delete(from, key)
	}
}

// switchedBy returns what a revocation of no single session or token disabled.
func switchedBy(r *models.Revocation) switched {
	switch {
	case r.Subject != "":
		return switched{subject: r.Subject}
	case r.Issuer != "":
		return switched{}
	default:
		return switched{client: r.ClientID}
	}
}
