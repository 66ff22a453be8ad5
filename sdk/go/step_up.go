package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// StepUpParams describe a step-up.
type StepUpParams struct {
	SubjectTokenType string // default: TokenTypeJWT
	Demand                  // what the session must meet after the step-up
}

// StepUp adds a further proof of the user, a client token, to a session. It
// replaces the session's access token, refresh token and session token.
// [ParseChallenge] reads what a resource server demands.
//
// The request is saved with the session's tokens before it is sent
// ([Tokens.Pending]). If there is no response, StepUp returns an error that
// wraps [ErrUnavailable] and the step-up stays pending. The next StepUp,
// refresh or AccessToken sends it again first, also after a restart; the server
// returns the same tokens as long as none of them was used. A StepUp with the
// same client token sends the pending request unchanged and ignores p. A StepUp
// with another client token resolves the pending one first.
//
// An [Error] leaves the session unchanged: unmet_authentication_requirements if
// the proof does not meet the demand, invalid_request if the client token is
// invalid or belongs to another user. An error that wraps [ErrSessionEnded]
// means that the session has ended.
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

// stepUpOperation is the state of a step-up over its attempts.
type stepUpOperation struct {
	client  *Client
	session *Session
	pending PendingStepUp

	recorded          bool    // the request is in the store
	mayHaveSucceeded  bool    // the server may have carried out an earlier request
	replacedElsewhere bool    // another process has newer tokens than those that were sent
	sent              Tokens  // the tokens that identify the session in the request
	result            *Tokens // the tokens that replace them
	refusal           error   // why the session did not get the new factor
	saved             bool
}

// resumeStepUp returns the operation for a pending step-up of an earlier call
// or another process.
func (c *Client) resumeStepUp(s *Session, p PendingStepUp) *stepUpOperation {
	return &stepUpOperation{client: c, session: s, pending: p, recorded: true, mayHaveSucceeded: true}
}

// update returns the tokens that the session gets, also beside an error.
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

// prepare loads the tokens to send, and saves the request before it is sent. It
// runs before each attempt: another process may have completed the step-up, and
// sending old tokens would end the session.
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

// record resolves a previous pending step-up, and saves this request.
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

// request sends the request and interprets the response.
func (u *stepUpOperation) request(ctx context.Context) (Tokens, error) {
	t, err := u.client.requestStepUp(ctx, u.sent, u.pending)
	if u.mayHaveSucceeded && hasReason(err, ReasonSubjectTokenSpent) && !u.replacedElsewhere {
		// The first request may have arrived only now: repeat it for its result.
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
		return t, nil // another process got the response and saved it
	}
	u.refusal = err
	return t, nil
}

// isDefinitive reports whether a refusal is about the step-up itself. While a
// client is disabled, the server does not report what became of an earlier
// request.
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

// requestStepUp sends one request.
func (c *Client) requestStepUp(ctx context.Context, had Tokens, p PendingStepUp) (Tokens, error) {
	form := exchangeForm(p.Params.SubjectTokenType, p.ClientToken, p.Params.Demand)
	form.Set("latchkey_session_token", had.longestLived())
	t, err := c.requestToken(ctx, form)
	if err != nil {
		return Tokens{}, withSessionEnded(err)
	}
	if t.SessionID != had.SessionID {
		return Tokens{}, fmt.Errorf("%w: unexpected step-up response: session_id is %q, expected %q", ErrUnavailable, t.SessionID, had.SessionID)
	}
	return t.fillFrom(had), nil
}
