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

func (c *Client) isFresh(t Tokens) bool { return c.now().Before(t.Expiry.Add(-leeway)) }

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
		s.dropTargetTokens()
	}
	return err
}

// refreshFor gets a token for a target that is another than `had`. There is one
// refresh token for all targets: what others have under way comes first.
func (c *Client) refreshFor(ctx context.Context, s *Session, target Target, had string) (Tokens, error) {
	key := target.key()
	for {
		f := c.joinOrStart(ctx, s, key, had, func(ctx context.Context, s *Session) (update, error) { return c.refresh(ctx, s, target) })
		err := f.wait(ctx)
		switch {
		case ctx.Err() != nil:
			return Tokens{}, wire.Unavailable(ctx.Err())
		case f.covers(key):
			return f.token(), err
		case s.Err() != nil:
			return Tokens{}, s.Err()
		case !f.stepUp && errors.Is(err, ErrUnavailable):
			return Tokens{}, err // a step-up that failed says nothing about a refresh
		}
	}
}

// update is what a change of a session's tokens brings.
type update struct {
	tokens       Tokens // of the session from now on
	targetTokens Tokens // for the target that was asked for, if one was
	saved        bool   // the store has them, or is not to get them
	steppedUp    bool   // by a step-up, after which the tokens for targets are out of date
}

// refresh gets what comes after the session's tokens. With an error it returns
// what a pending step-up brought before.
func (c *Client) refresh(ctx context.Context, s *Session, target Target) (update, error) {
	r := refreshOperation{client: c, session: s, target: target}
	err := c.withRetry(ctx, r.attempt)
	if err != nil {
		return update{tokens: r.afterStepUp, steppedUp: r.afterStepUp.SessionID != ""}, err
	}
	r.result.steppedUp = r.afterStepUp.SessionID != ""
	return r.result, nil
}

// refreshOperation is a refresh under way.
type refreshOperation struct {
	client  *Client
	session *Session
	target  Target

	afterStepUp Tokens // what a pending step-up brought; zero: there was none
	sent        Tokens // those that the server was asked with
	answered    bool
	result      update
}

func (r *refreshOperation) attempt(ctx context.Context) (err error) {
	if !r.answered {
		if r.result, err = r.request(ctx); err != nil {
			return err
		}
		r.answered = true
	}
	if r.result.saved {
		return nil
	}
	t, err := r.session.save(ctx, r.result.tokens, r.sent)
	if err != nil {
		return err
	}
	r.result.tokens, r.result.saved = t, true
	return nil
}

// request looks into the store, settles a pending step-up, and asks the server.
func (r *refreshOperation) request(ctx context.Context) (update, error) {
	had := r.session.Tokens()
	latest, err := r.session.load(ctx)
	if err != nil {
		return update{}, err
	}
	if latest.Pending != nil {
		if latest, err = r.resolvePending(ctx, *latest.Pending); err != nil {
			return update{}, err
		}
	}
	if r.isAlreadyFresh(latest, had) {
		return update{tokens: latest, saved: true}, nil
	}
	got, err := r.requestSuccessor(ctx, latest)
	if err == nil && !got.spentByStepUp || err != nil && !errors.Is(err, ErrSessionEnded) && !isSuperseded(err) || r.session.store == nil {
		return got.update, err
	}
	// Another process may have been faster.
	again, failed := r.session.load(ctx)
	switch {
	case failed != nil && err != nil:
		return update{}, failed
	case failed != nil || again.sameSessionCredentials(latest):
		return got.update, err
	case r.isAlreadyFresh(again, latest):
		return update{tokens: again, saved: true}, nil
	case err == nil:
		got.update.tokens = again
		return got.update, nil
	}
	got, err = r.requestSuccessor(ctx, again)
	return got.update, err
}

// isAlreadyFresh reports whether the session has a fresh access token of its own that is
// another than `had`: from another handle, another process, or a step-up.
func (r *refreshOperation) isAlreadyFresh(t, had Tokens) bool {
	return r.target.key() == "" && t.AccessToken != had.AccessToken && r.client.isFresh(t)
}

// resolvePending sends a pending step-up again. Refused, the session goes on without it.
func (r *refreshOperation) resolvePending(ctx context.Context, p PendingStepUp) (Tokens, error) {
	u := r.client.resumeStepUp(r.session, p)
	if err := u.attempt(ctx); err != nil {
		return Tokens{}, err
	}
	r.session.replace(*u.result)
	if u.refusal == nil {
		r.afterStepUp = *u.result
	}
	return *u.result, nil
}

// refreshAnswer is an answer to a refresh.
type refreshAnswer struct {
	update
	spentByStepUp bool // by a step-up that has spent the refresh token
}

// requestSuccessor asks the server. An answer for a target brings the next refresh
// token, which is still good for the whole session, and no access token that
// would be. An answer without a refresh token is one from before a step-up that
// has spent it: it is not saved, because the store gets, or has, the tokens of
// the step-up.
func (r *refreshOperation) requestSuccessor(ctx context.Context, t Tokens) (got refreshAnswer, err error) {
	next, err := r.client.requestRefresh(ctx, t, r.target)
	if err != nil {
		return refreshAnswer{}, err
	}
	r.sent = t
	got.tokens, got.spentByStepUp = next.fillFrom(t), t.RefreshToken != "" && next.RefreshToken == ""
	got.saved = got.spentByStepUp
	if r.target.key() != "" {
		got.targetTokens = next
		got.targetTokens.RefreshToken, got.targetTokens.SessionToken = "", ""
		got.tokens.AccessToken, got.tokens.Expiry, got.tokens.Scope = t.AccessToken, t.Expiry, t.Scope
	}
	return got, nil
}

func (c *Client) requestRefresh(ctx context.Context, t Tokens, target Target) (Tokens, error) {
	if t.RefreshToken == "" && t.SessionToken == "" {
		return Tokens{}, fmt.Errorf("%w: it has no token to go on with", ErrSessionEnded)
	}
	if t.RefreshToken == "" {
		return c.exchangeSessionToken(ctx, t.SessionToken, target)
	}
	form := target.form()
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", t.RefreshToken)
	next, err := c.requestToken(ctx, form)
	if err != nil {
		return Tokens{}, withSessionEnded(err)
	}
	if next.SessionID != t.SessionID {
		return Tokens{}, fmt.Errorf("%w: the answer to a refresh is about another session", ErrUnavailable)
	}
	return next, nil
}

// withSessionEnded adds ErrSessionEnded to the refusals that mean the end of a
// session, which others do not, such as invalid_client (RFC 6749 §5.2).
func withSessionEnded(err error) error {
	var refusal *Error
	if errors.As(err, &refusal) && refusal.StatusCode == http.StatusBadRequest && refusal.Code == "invalid_grant" && !isSuperseded(err) {
		return fmt.Errorf("%w: %w", ErrSessionEnded, err)
	}
	return err
}

// isSuperseded reports whether a token was refused although its session goes on:
// somebody who shares the store has a newer one.
func isSuperseded(err error) bool {
	return hasReason(err, ReasonRefreshSuperseded) || hasReason(err, ReasonSessionTokenSuperseded) || hasReason(err, ReasonChainMismatch)
}

func hasReason(err error, reason string) bool {
	var refusal *Error
	return errors.As(err, &refusal) && refusal.Reason == reason
}
