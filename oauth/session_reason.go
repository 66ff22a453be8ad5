package oauth

import (
	"errors"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/session"
)

// An app is told what became of a session only if its token belongs to the
// session's chain. A token of which only the tag is valid is not enough:
// somebody with an old backup and the root secret could make one.

// mayLearnOf reports whether the client, by presenting the handle, may be told
// about the session.
func (s *Server) mayLearnOf(c *Client, row *models.Session, h keys.Handle) bool {
	return row.ClientID == c.ID && s.keys.Matches(row, h)
}

// endReason returns why the session has ended. It is empty if the session has
// not ended or the reason is not known yet.
func (c *Client) endReason(row *models.Session, now time.Time) session.EndReason {
	_, why, _ := c.tenant.ended(row, now)
	return why
}

// refreshError returns the refusal of a refresh token. Whatever the outcome
// requires has been committed by then.
func (s *Server) refreshError(c *Client, row *models.Session, presented keys.Handle, outcome session.RefreshOutcome, now time.Time) *Error {
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
func (s *Server) sessionTokenReason(c *Client, row *models.Session, h keys.Handle, now time.Time) (Reason, session.EndReason) {
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
// Roots.Matches returns false.
func replacedByStepUp(c *Client, row *models.Session, h keys.Handle) bool {
	return row.ClientID == c.ID && h.Kind == keys.SessionToken && h.Generation < row.SessionToken.Generation
}

// stepUpError returns the refusal of latchkey_session_token. The handle is zero
// if the token is an access token of the client with a valid signature.
func (s *Server) stepUpError(c *Client, row *models.Session, h keys.Handle, now time.Time) *Error {
	cause := errors.New("the session has ended or belongs to another client, or the token was replaced")
	switch {
	case row.ClientID != c.ID:
		return invalidSession(ReasonSessionTokenUnknown, cause)
	case h.Kind != 0 && !s.keys.Matches(row, h) && c.alive(row, now):
		if replacedByStepUp(c, row, h) {
			return invalidSession(ReasonSessionTokenSuperseded, cause)
		}
		return invalidSession(ReasonChainMismatch, cause)
	case h.Kind != 0 && !s.keys.Matches(row, h):
		return invalidSession(ReasonSessionTokenUnknown, cause)
	case !c.alive(row, now):
		return invalidSession(ReasonSessionEnded, cause).withEndReason(c.endReason(row, now))
	case h.Kind == keys.SessionToken:
		return invalidSession(ReasonSessionTokenSuperseded, cause)
	default:
		return invalidSession(ReasonRefreshSuperseded, cause)
	}
}
