package oauth

import (
	"errors"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// An app is told what became of a session only if its token belongs to the
// session's chain. A token of which only the tag is valid is not enough:
// somebody with an old backup and the root secret could make one.

// maxBehind bounds how many generations a token may be behind its session and
// still be recognized. Each generation costs one HMAC.
const maxBehind = 256

// matchesChain reports whether the handle belongs to its session's chain in the
// row: it is the current one, the next one, or one from which the current one
// follows.
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

// mayLearnOf reports whether the client, by presenting the handle, may be told
// about the session.
func (s *Server) mayLearnOf(c *Client, row *models.Session, h handle) bool {
	return row.ClientID == c.ID && s.keys.matchesChain(row, h)
}

// endReason returns why the session has ended. It is empty if the session has
// not ended or the reason is not known yet.
func (c *Client) endReason(row *models.Session, now time.Time) session.EndReason {
	_, why, _ := c.tenant.ended(row, now)
	return why
}

// refreshError returns the refusal of a refresh token. Whatever the outcome
// requires has been committed by then.
func (s *Server) refreshError(c *Client, row *models.Session, presented handle, outcome session.RefreshOutcome, now time.Time) *Error {
	cause, matches := errors.New(outcome.String()), s.mayLearnOf(c, row, presented)
	switch {
	case row.ClientID != c.ID:
		return invalidGrant(ReasonRefreshUnknown, cause)
	case outcome == session.RefreshSuperseded:
		return invalidGrant(ReasonRefreshSuperseded, cause) // it belongs to another chain, so it cannot match
	case outcome == session.RefreshMismatch, outcome == session.RefreshDuplicate && !matches:
		return invalidGrant(ReasonChainMismatch, cause)
	case !matches:
		return invalidGrant(ReasonRefreshUnknown, cause)
	case outcome == session.RefreshDuplicate:
		return invalidGrant(ReasonRefreshSuperseded, cause)
	case outcome == session.RefreshReuse:
		return invalidGrant(ReasonRefreshReused, cause).withEndReason(session.ReuseDetected)
	default:
		return invalidGrant(ReasonSessionEnded, cause).withEndReason(c.endReason(row, now))
	}
}

// sessionTokenReason returns why a session token may not be used. The reason is
// "unknown" unless the client may be told more.
func (s *Server) sessionTokenReason(c *Client, row *models.Session, h handle, now time.Time) (Reason, session.EndReason) {
	matches := s.mayLearnOf(c, row, h)
	switch {
	case !matches && c.alive(row, now) && replacedByStepUp(c, row, h):
		return ReasonSessionTokenSuperseded, ""
	case !matches:
		return ReasonSessionTokenUnknown, ""
	case !c.alive(row, now):
		return ReasonSessionEnded, c.endReason(row, now)
	default:
		return ReasonSessionTokenSuperseded, ""
	}
}

// replacedByStepUp reports whether the handle is a session token of the client
// that a step-up replaced. Nothing else advances that chain. If the step-up was
// not made with this token, the new one does not follow from it, so
// matchesChain returns false.
func replacedByStepUp(c *Client, row *models.Session, h handle) bool {
	return row.ClientID == c.ID && h.kind == sessionToken && h.generation < row.SessionToken.Generation
}

// stepUpError returns the refusal of latchkey_session_token. The handle is zero
// if the token is an access token of the client with a valid signature.
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
