package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
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
// Callers at the same moment share one refresh, which goes on when one of them
// gives up. After a network error, a timeout, a 429 or a 5xx the same refresh
// token is sent again, which the server answers with the same successor. A
// pending step-up ([Tokens.Pending]) is sent again first.
//
// An error that wraps [ErrUnavailable] leaves the session as it was, and the next
// call tries again. One that wraps [ErrSessionEnded] reports that the session is
// over. Any other is an [Error]; with [ReasonRefreshSuperseded] or
// [ReasonSessionTokenSuperseded] somebody has newer tokens of the session than
// this handle and its [Store], and the session goes on.
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
			return Tokens{}, wire.Unavailable(ctx.Err())
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
	kept     bool   // the store has them, or is not to get them
	raised   bool   // by a step-up, after which the tokens for targets are out of date
}

// refresh gets what comes after the session's tokens. With an error it returns
// what a pending step-up brought before.
func (c *Client) refresh(ctx context.Context, s *Session, target Target) (issued, error) {
	r := renewal{client: c, session: s, target: target}
	err := c.insist(ctx, r.attempt)
	if err != nil {
		return issued{tokens: r.raised, raised: r.raised.SessionID != ""}, err
	}
	r.got.raised = r.raised.SessionID != ""
	return r.got, nil
}

// renewal is a refresh under way.
type renewal struct {
	client  *Client
	session *Session
	target  Target

	raised Tokens // what a pending step-up brought; zero: there was none
	before Tokens // those that the server was asked with
	asked  bool
	got    issued
}

func (r *renewal) attempt(ctx context.Context) (err error) {
	if !r.asked {
		if r.got, err = r.ask(ctx); err != nil {
			return err
		}
		r.asked = true
	}
	if r.got.kept {
		return nil
	}
	t, err := r.session.save(ctx, r.got.tokens, r.before)
	if err != nil {
		return err
	}
	r.got.tokens, r.got.kept = t, true
	return nil
}

// ask looks into the store, settles a pending step-up, and asks the server.
func (r *renewal) ask(ctx context.Context) (issued, error) {
	had := r.session.Tokens()
	latest, err := r.session.load(ctx)
	if err != nil {
		return issued{}, err
	}
	if latest.Pending != nil {
		if latest, err = r.settle(ctx, *latest.Pending); err != nil {
			return issued{}, err
		}
	}
	if r.enough(latest, had) {
		return issued{tokens: latest, kept: true}, nil
	}
	got, err := r.successor(ctx, latest)
	if err == nil && !got.crossed || err != nil && !errors.Is(err, ErrSessionEnded) && !superseded(err) || r.session.store == nil {
		return got.issued, err
	}
	// Another process may have been faster.
	again, failed := r.session.load(ctx)
	switch {
	case failed != nil && err != nil:
		return issued{}, failed
	case failed != nil || again.sameHandles(latest):
		return got.issued, err
	case r.enough(again, latest):
		return issued{tokens: again, kept: true}, nil
	case err == nil:
		got.issued.tokens = again
		return got.issued, nil
	}
	got, err = r.successor(ctx, again)
	return got.issued, err
}

// enough reports whether the session has a fresh access token of its own that is
// another than `had`: from another handle, another process, or a step-up.
func (r *renewal) enough(t, had Tokens) bool {
	return r.target.key() == "" && t.AccessToken != had.AccessToken && r.client.fresh(t)
}

// settle sends a pending step-up again. Refused, the session goes on without it.
func (r *renewal) settle(ctx context.Context, p PendingStepUp) (Tokens, error) {
	u := r.client.resume(r.session, p)
	if err := u.attempt(ctx); err != nil {
		return Tokens{}, err
	}
	r.session.replace(*u.got)
	if u.refused == nil {
		r.raised = *u.got
	}
	return *u.got, nil
}

// answered is an answer to a refresh.
type answered struct {
	issued
	crossed bool // by a step-up that has spent the refresh token
}

// successor asks the server. An answer for a target brings the next refresh
// token, which is still good for the whole session, and no access token that
// would be. An answer without a refresh token is one from before a step-up that
// has spent it: it is not saved, because the store gets, or has, the tokens of
// the step-up.
func (r *renewal) successor(ctx context.Context, t Tokens) (got answered, err error) {
	next, err := r.client.answerFor(ctx, t, r.target)
	if err != nil {
		return answered{}, err
	}
	r.before = t
	got.tokens, got.crossed = next.over(t), t.RefreshToken != "" && next.RefreshToken == ""
	got.kept = got.crossed
	if r.target.key() != "" {
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
	return hasReason(err, ReasonRefreshSuperseded) || hasReason(err, ReasonSessionTokenSuperseded) || hasReason(err, ReasonChainMismatch)
}

func hasReason(err error, reason string) bool {
	var refusal *Error
	return errors.As(err, &refusal) && refusal.Reason == reason
}
