package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// StepUpParams say what a step-up brings.
type StepUpParams struct {
	SubjectTokenType string // default TokenTypeJWT
	Demand                  // that the session must meet after the step-up
}

// StepUp adds one more proof of its user, a client token, to a session, and
// replaces the session's tokens: the access token, the refresh token and the
// session token. [ParseChallenge] reads what a resource server demands.
//
// The request is saved with the session's tokens before it is sent
// ([Tokens.Pending]). If no answer comes, StepUp returns an error that wraps
// [ErrUnavailable] and the request stays pending. The next StepUp, refresh or
// AccessToken, also after a restart, first sends it again; the server returns the
// same tokens for as long as none of them has been used. A StepUp with another
// client token settles the pending one first. A StepUp with the same client token
// sends the pending request as it was, whatever p says.
//
// An [Error] leaves the session as it was: unmet_authentication_requirements if
// the proof does not meet the demand, invalid_request if the client token is
// invalid or another user's. An error that wraps [ErrSessionEnded] reports that
// the session is over.
func (c *Client) StepUp(ctx context.Context, s *Session, clientToken string, p StepUpParams) error {
	err := c.startExclusive(ctx, s, func(ctx context.Context, s *Session) (update, error) {
		u := &stepUpOperation{client: c, session: s, pending: PendingStepUp{clientToken, p}}
		err := c.withRetry(ctx, u.attempt)
		if err == nil {
			err = u.refusal
		}
		return u.update(), err
	}).wait(ctx)
	if err != nil {
		return fmt.Errorf("step up: %w", err)
	}
	return nil
}

// stepUpOperation is a step-up under way.
type stepUpOperation struct {
	client  *Client
	session *Session
	pending PendingStepUp

	recorded          bool    // the store has it
	mayHaveSucceeded  bool    // the server may have carried it out already
	replacedElsewhere bool    // somebody else has newer handles than those that were shown
	sent              Tokens  // those that the request names the session by
	result            *Tokens // what comes after them
	refusal           error   // why the session has one proof no more than before
	saved             bool
}

// resumeStepUp is a pending step-up of an earlier call or of another process.
func (c *Client) resumeStepUp(s *Session, p PendingStepUp) *stepUpOperation {
	return &stepUpOperation{client: c, session: s, pending: p, recorded: true, mayHaveSucceeded: true}
}

// update is what the handles of the session get, also beside an error.
func (u *stepUpOperation) update() update {
	switch {
	case u.saved:
		return update{tokens: *u.result, steppedUp: u.refusal == nil}
	case u.result == nil && u.mayHaveSucceeded:
		return update{tokens: u.sent} // still pending
	}
	return update{}
}

func (u *stepUpOperation) attempt(ctx context.Context) error {
	if u.result == nil {
		if err := u.prepare(ctx); err != nil {
			return err
		}
		t, err := u.request(ctx)
		if err != nil {
			return err
		}
		u.result = &t
		u.session.clearPending()
	}
	t, err := u.session.save(ctx, *u.result, u.sent)
	if err != nil {
		return err
	}
	u.result, u.saved = &t, true
	return nil
}

// prepare finds the handle to show, and saves the request before it is sent. It
// looks each time: another process may have had the answer meanwhile, and an old
// handle would end the session.
func (u *stepUpOperation) prepare(ctx context.Context) error {
	t, err := u.session.load(ctx)
	if err != nil {
		return err
	}
	u.replacedElsewhere = u.replacedElsewhere || u.mayHaveSucceeded && u.sent.SessionID != "" && !t.sameSessionCredentials(u.sent)
	if !u.recorded {
		if t, err = u.record(ctx, t); err != nil {
			return err
		}
		u.recorded = true
	}
	u.sent = t
	u.sent.Pending = &u.pending
	return nil
}

// record settles what was pending before, and saves this request.
func (u *stepUpOperation) record(ctx context.Context, t Tokens) (Tokens, error) {
	if before := t.Pending; before != nil {
		if before.ClientToken == u.pending.ClientToken {
			u.pending, u.mayHaveSucceeded = *before, true
			return t, nil
		}
		other := u.client.resumeStepUp(u.session, *before)
		if err := other.attempt(ctx); err != nil {
			return Tokens{}, err
		}
		t = *other.result
		u.session.replace(t)
	}
	t.Pending = &u.pending
	return t, u.session.write(ctx, t)
}

// request sends the request once and judges the answer.
func (u *stepUpOperation) request(ctx context.Context) (Tokens, error) {
	t, err := u.client.requestStepUp(ctx, u.sent, u.pending)
	if u.mayHaveSucceeded && hasReason(err, ReasonSubjectTokenSpent) && !u.replacedElsewhere {
		// The first request may have been under way until now.
		t, err = u.client.requestStepUp(ctx, u.sent, u.pending)
	}
	if (errors.Is(err, ErrSessionEnded) || isSuperseded(err)) && u.session.store != nil {
		again, failed := u.session.load(ctx)
		if failed != nil {
			return Tokens{}, failed
		}
		if !again.sameSessionCredentials(u.sent) {
			u.replacedElsewhere, u.sent = true, again
			u.sent.Pending = &u.pending
			t, err = u.client.requestStepUp(ctx, u.sent, u.pending)
		}
	}
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, ErrUnavailable):
		u.mayHaveSucceeded = true
		return Tokens{}, err
	case errors.Is(err, ErrSessionEnded), u.mayHaveSucceeded && !isDefinitive(err):
		return Tokens{}, err
	}
	t = u.sent
	t.Pending = nil
	if u.mayHaveSucceeded && u.replacedElsewhere && hasReason(err, ReasonSubjectTokenSpent) {
		return t, nil // another process had the answer, and stored it
	}
	u.refusal = err
	return t, nil
}

// isDefinitive reports whether a refusal is about the step-up itself. While a
// client is switched off, the server does not say what became of a request.
func isDefinitive(err error) bool {
	var refusal *Error
	if !errors.As(err, &refusal) {
		return false
	}
	switch {
	case refusal.Code == "access_denied":
		return true
	case refusal.Code == "invalid_client", refusal.Code == "unauthorized_client":
		return false
	}
	return refusal.StatusCode == http.StatusBadRequest
}

// requestStepUp asks once.
func (c *Client) requestStepUp(ctx context.Context, had Tokens, p PendingStepUp) (Tokens, error) {
	form := exchangeForm(p.Params.SubjectTokenType, p.ClientToken, p.Params.Demand)
	form.Set("latchkey_session_token", had.longestLived())
	t, err := c.requestToken(ctx, form)
	if err != nil {
		return Tokens{}, withSessionEnded(err)
	}
	if t.SessionID != had.SessionID {
		return Tokens{}, fmt.Errorf("%w: the answer to a step-up is about another session", ErrUnavailable)
	}
	return t.fillFrom(had), nil
}
