package oauth

import (
	"errors"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// An app learns what became of a session only with a token that fits the
// session's chain: whoever holds a text with a good tag alone, such as a reader
// of an old backup with the root secret, learns nothing.

// maxBehind bounds how many generations a token may lie behind its session and
// still be recognised: each costs one HMAC.
const maxBehind = 256

// fits reports whether the handle is one of its session's chain as the row has
// it: the current one, the next one, or one from which the current one follows.
func (k *Keys) matchesChain(row *models.Session, h handle) bool {
	chain := chainOf(row, h.kind)
	behind := int64(chain.Generation) - int64(h.generation)
	switch {
	case behind == -1:
		return equalDigests(k.digest(h, chain.RootVersion), chain.Next)
	case behind < 0, behind > maxBehind, behind > 0 && k.all[h.version] == nil:
		return false
	}
	for ; behind > 0; behind-- {
		version := h.version
		h = k.successor(row.TenantID, h)
		h.version = version
	}
	return equalDigests(k.digest(h, chain.RootVersion), chain.Digest)
}

// knows reports whether the client may learn of the session, with a handle
// that it presents.
func (s *Server) mayLearnOf(c *Client, row *models.Session, h handle) bool {
	return row.ClientID == c.ID && s.keys.matchesChain(row, h)
}

// endReason is why the session is over; empty: it is not, or nobody knows yet.
func (c *Client) endReason(row *models.Session, now time.Time) session.EndReason {
	_, why, _ := c.tenant.ended(row, now)
	return why
}

// refusedRefresh is the answer to a refresh token that may not be used, after
// what had to be remembered has been committed.
func (s *Server) refreshError(c *Client, row *models.Session, presented handle, outcome session.RefreshOutcome, now time.Time) *Error {
	cause, fits := errors.New(outcome.String()), s.mayLearnOf(c, row, presented)
	switch {
	case row.ClientID != c.ID:
		return invalidGrant(ReasonRefreshUnknown, cause)
	case outcome == session.RefreshSuperseded:
		return invalidGrant(ReasonRefreshSuperseded, cause) // it is of another chain, so nothing can fit
	case outcome == session.RefreshMismatch, outcome == session.RefreshDuplicate && !fits:
		return invalidGrant(ReasonChainMismatch, cause)
	case !fits:
		return invalidGrant(ReasonRefreshUnknown, cause)
	case outcome == session.RefreshDuplicate:
		return invalidGrant(ReasonRefreshSuperseded, cause)
	case outcome == session.RefreshReuse:
		return invalidGrant(ReasonRefreshReused, cause).withEndReason(session.ReuseDetected)
	default:
		return invalidGrant(ReasonSessionEnded, cause).withEndReason(c.endReason(row, now))
	}
}

// refusedSessionToken is why a session token may not be used: unknown unless
// the client may learn more.
func (s *Server) sessionTokenReason(c *Client, row *models.Session, h handle, now time.Time) (Reason, session.EndReason) {
	fits := s.mayLearnOf(c, row, h)
	switch {
	case !fits && c.alive(row, now) && replacedByStepUp(c, row, h):
		return ReasonSessionTokenSuperseded, ""
	case !fits:
		return ReasonSessionTokenUnknown, ""
	case !c.alive(row, now):
		return ReasonSessionEnded, c.endReason(row, now)
	default:
		return ReasonSessionTokenSuperseded, ""
	}
}

// replacedByStepUp reports whether the handle is a session token of the client
// that a step-up replaced: nothing else moves that chain. If the step-up did not
// see the token, the new one does not follow from it, so it cannot fit.
func replacedByStepUp(c *Client, row *models.Session, h handle) bool {
	return row.ClientID == c.ID && h.kind == sessionToken && h.generation < row.SessionToken.Generation
}

// refusedStepUp is why latchkey_session_token may not raise the session: a
// handle, or, if that is zero, an access token of the client whose signature
// was good.
func (s *Server) stepUpError(c *Client, row *models.Session, h handle, now time.Time) *Error {
	cause := errors.New("the session has ended or belongs to another client, or the token was replaced")
	switch {
	case row.ClientID != c.ID:
		return invalidSession(ReasonSessionTokenUnknown, cause)
	case h.kind != 0 && !s.keys.matchesChain(row, h) && c.alive(row, now):
		if replacedByStepUp(c, row, h) {
			return invalidSession(ReasonSessionTokenSuperseded, cause)
		}
		return invalidSession(ReasonChainMismatch, cause)
	case h.kind != 0 && !s.keys.matchesChain(row, h):
		return invalidSession(ReasonSessionTokenUnknown, cause)
	case !c.alive(row, now):
		return invalidSession(ReasonSessionEnded, cause).withEndReason(c.endReason(row, now))
	case h.kind == sessionToken:
		return invalidSession(ReasonSessionTokenSuperseded, cause)
	default:
		return invalidSession(ReasonRefreshSuperseded, cause)
	}
}
