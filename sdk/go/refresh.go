package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// leeway is how long before its end an access token is replaced: enough for a
// request under way, and no more than half of the shortest life there is. It is
// more than the 10 s of golang.org/x/oauth2.
const leeway = 15 * time.Second

// AccessToken is an access token of the session that will live for a moment yet:
// the one it has, or a fresh one. While the server is out of reach, the old one
// is returned for as long as it lives. Its errors are those of
// [Client.RefreshSession].
func (c *Client) AccessToken(ctx context.Context, s *Session) (Tokens, error) {
	return c.TokenFor(ctx, s, Target{})
}

func (c *Client) fresh(t Tokens) bool { return c.now().Before(t.Expiry.Add(-leeway)) }

// RefreshSession gets the session a fresh access token and the next refresh
// token (RFC 6749 §6), or, if it has only a session token, swaps that for an
// access token. Access tokens for targets are replaced when they are next asked
// for.
//
// It is done once for all who ask at the same moment, and goes on when one of
// them gives up. The same refresh token is sent again after a network error, a
// timeout, a 429 or a 5xx, which the server answers with the same successor. An
// error that wraps [ErrUnavailable] leaves the session as it was; one that wraps
// [ErrSessionEnded] says that it is over; any other is an [Error].
func (c *Client) RefreshSession(ctx context.Context, s *Session) error {
	_, err := c.refreshFor(ctx, s, Target{}, s.Tokens().AccessToken)
	if err == nil {
		s.forget()
	}
	return err
}

// refreshFor gets a token for a target that is another than `had`. There is one
// refresh token for all targets: what others have under way comes first.
func (c *Client) refreshFor(ctx context.Context, s *Session, target Target, had string) (Tokens, error) {
	key := target.key()
	for {
		f := c.join(ctx, s, key, had, func(ctx context.Context, s *Session) (issued, error) { return c.refresh(ctx, s, target) })
		err := f.wait(ctx)
		switch {
		case ctx.Err() != nil:
			return Tokens{}, outOfReach(ctx.Err())
		case f.brings(key):
			return f.token(), err
		case s.Err() != nil:
			return Tokens{}, s.Err()
		case !f.stepUp && errors.Is(err, ErrUnavailable):
			return Tokens{}, err // a step-up that failed says nothing about a refresh
		}
	}
}

// issued is what a change of a session's tokens brings.
type issued struct {
	tokens   Tokens // of the session from now on
	narrowed Tokens // for the target that was asked for, if one was
	kept     bool   // the store has them
}

// refresh asks for what comes after the session's tokens.
func (c *Client) refresh(ctx context.Context, s *Session, target Target) (got issued, err error) {
	asked := false
	err = c.insist(ctx, func(ctx context.Context) (err error) {
		if !asked {
			if got, err = c.renew(ctx, s, target); err != nil {
				return err
			}
			asked = true
		}
		if got.kept {
			return nil
		}
		return s.save(ctx, got.tokens)
	})
	if err != nil {
		return issued{}, err
	}
	return got, nil
}

// renew asks the store and then the server. What the store has instead of the
// tokens of this handle came from another handle, or another process.
func (c *Client) renew(ctx context.Context, s *Session, target Target) (issued, error) {
	had := s.Tokens()
	latest, err := s.load(ctx)
	if err != nil {
		return issued{}, err
	}
	if target.key() == "" && latest.AccessToken != had.AccessToken && c.fresh(latest) {
		return issued{tokens: latest, kept: true}, nil
	}
	got, err := c.successor(ctx, latest, target)
	if (errors.Is(err, ErrSessionEnded) || superseded(err)) && s.store != nil {
		// Another process may have been faster by two steps.
		if again, failed := s.load(ctx); failed != nil {
			return issued{}, failed
		} else if again.RefreshToken != latest.RefreshToken {
			return c.successor(ctx, again, target)
		}
	}
	return got, err
}

// successor asks the server. An answer for a target brings the next refresh
// token, which is still good for the whole session, and no access token that
// would be.
func (c *Client) successor(ctx context.Context, t Tokens, target Target) (issued, error) {
	next, err := c.answerFor(ctx, t, target)
	if err != nil {
		return issued{}, err
	}
	// An answer without a refresh token is one from before a step-up that has spent
	// it. It is not saved: the store gets, or has, the tokens of the step-up.
	got := issued{tokens: next.over(t), kept: t.RefreshToken != "" && next.RefreshToken == ""}
	if target.key() != "" {
		got.narrowed = next
		got.narrowed.RefreshToken, got.narrowed.SessionToken = "", ""
		got.tokens.AccessToken, got.tokens.Expiry, got.tokens.Scope = t.AccessToken, t.Expiry, t.Scope
	}
	return got, nil
}

func (c *Client) answerFor(ctx context.Context, t Tokens, target Target) (Tokens, error) {
	if t.RefreshToken == "" && t.SessionToken == "" {
		return Tokens{}, fmt.Errorf("%w: it has no token to go on with", ErrSessionEnded)
	}
	if t.RefreshToken == "" {
		return c.swap(ctx, t.SessionToken, target)
	}
	form := target.form()
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", t.RefreshToken)
	next, err := c.token(ctx, form)
	if err != nil {
		return Tokens{}, sessionOver(err)
	}
	if next.SessionID != t.SessionID {
		return Tokens{}, fmt.Errorf("%w: the answer to a refresh is about another session", ErrUnavailable)
	}
	return next, nil
}

// sessionOver adds ErrSessionEnded to the refusals that mean the end of a
// session, which others do not, such as invalid_client (RFC 6749 §5.2).
func sessionOver(err error) error {
	var refusal *Error
	if errors.As(err, &refusal) && refusal.StatusCode == http.StatusBadRequest && refusal.Code == "invalid_grant" && !superseded(err) {
		return fmt.Errorf("%w: %w", ErrSessionEnded, err)
	}
	return err
}

// superseded reports whether a token was refused although its session goes on:
// somebody who shares the store has a newer one.
func superseded(err error) bool {
	var refusal *Error
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Reason {
	case ReasonRefreshSuperseded, ReasonSessionTokenSuperseded, ReasonChainMismatch:
		return true
	}
	return false
}
