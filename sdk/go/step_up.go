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
	err := c.lead(ctx, s, func(ctx context.Context, s *Session) (issued, error) {
		u := &stepUp{client: c, session: s, pending: PendingStepUp{clientToken, p}}
		err := c.insist(ctx, u.attempt)
		if err == nil {
			err = u.refused
		}
		return u.outcome(), err
	}).wait(ctx)
	if err != nil {
		return fmt.Errorf("step up: %w", err)
	}
	return nil
}

// stepUp is a step-up under way.
type stepUp struct {
	client  *Client
	session *Session
	pending PendingStepUp

	noted   bool    // the store has it
	lost    bool    // the server may have carried it out already
	moved   bool    // somebody else has newer handles than those that were shown
	had     Tokens  // those that the request names the session by
	got     *Tokens // what comes after them
	refused error   // why the session has one proof no more than before
	saved   bool
}

// resume is a pending step-up of an earlier call or of another process.
func (c *Client) resume(s *Session, p PendingStepUp) *stepUp {
	return &stepUp{client: c, session: s, pending: p, noted: true, lost: true}
}

// outcome is what the handles of the session get, also beside an error.
func (u *stepUp) outcome() issued {
	switch {
	case u.saved:
		return issued{tokens: *u.got, raised: u.refused == nil}
	case u.got == nil && u.lost:
		return issued{tokens: u.had} // still pending
	}
	return issued{}
}

func (u *stepUp) attempt(ctx context.Context) error {
	if u.got == nil {
		if err := u.prepare(ctx); err != nil {
			return err
		}
		t, err := u.ask(ctx)
		if err != nil {
			return err
		}
		u.got = &t
		u.session.settle()
	}
	t, err := u.session.save(ctx, *u.got, u.had)
	if err != nil {
		return err
	}
	u.got, u.saved = &t, true
	return nil
}

// prepare finds the handle to show, and saves the request before it is sent. It
// looks each time: another process may have had the answer meanwhile, and an old
// handle would end the session.
func (u *stepUp) prepare(ctx context.Context) error {
	t, err := u.session.load(ctx)
	if err != nil {
		return err
	}
	u.moved = u.moved || u.lost && u.had.SessionID != "" && !t.sameHandles(u.had)
	if !u.noted {
		if t, err = u.note(ctx, t); err != nil {
			return err
		}
		u.noted = true
	}
	u.had = t
	u.had.Pending = &u.pending
	return nil
}

// note settles what was pending before, and saves this request.
func (u *stepUp) note(ctx context.Context, t Tokens) (Tokens, error) {
	if before := t.Pending; before != nil {
		if before.ClientToken == u.pending.ClientToken {
			u.pending, u.lost = *before, true
			return t, nil
		}
		other := u.client.resume(u.session, *before)
		if err := other.attempt(ctx); err != nil {
			return Tokens{}, err
		}
		t = *other.got
		u.session.replace(t)
	}
	t.Pending = &u.pending
	return t, u.session.write(ctx, t)
}

// ask sends the request once and judges the answer.
func (u *stepUp) ask(ctx context.Context) (Tokens, error) {
	t, err := u.client.raise(ctx, u.had, u.pending)
	if u.lost && hasReason(err, ReasonSubjectTokenSpent) && !u.moved {
		// The first request may have been under way until now.
		t, err = u.client.raise(ctx, u.had, u.pending)
	}
	if (errors.Is(err, ErrSessionEnded) || superseded(err)) && u.session.store != nil {
		again, failed := u.session.load(ctx)
		if failed != nil {
			return Tokens{}, failed
		}
		if !again.sameHandles(u.had) {
			u.moved, u.had = true, again
			u.had.Pending = &u.pending
			t, err = u.client.raise(ctx, u.had, u.pending)
		}
	}
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, ErrUnavailable):
		u.lost = true
		return Tokens{}, err
	case errors.Is(err, ErrSessionEnded), u.lost && !definitive(err):
		return Tokens{}, err
	}
	t = u.had
	t.Pending = nil
	if u.lost && u.moved && hasReason(err, ReasonSubjectTokenSpent) {
		return t, nil // another process had the answer, and stored it
	}
	u.refused = err
	return t, nil
}

// definitive reports whether a refusal is about the step-up itself. While a
// client is switched off, the server does not say what became of a request.
func definitive(err error) bool {
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

// raise asks once.
func (c *Client) raise(ctx context.Context, had Tokens, p PendingStepUp) (Tokens, error) {
	form := exchangeForm(p.Params.SubjectTokenType, p.ClientToken, p.Params.Demand)
	form.Set("latchkey_session_token", had.anyOf())
	t, err := c.token(ctx, form)
	if err != nil {
		return Tokens{}, sessionOver(err)
	}
	if t.SessionID != had.SessionID {
		return Tokens{}, fmt.Errorf("%w: the answer to a step-up is about another session", ErrUnavailable)
	}
	return t.over(had), nil
}
