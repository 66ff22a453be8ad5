package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// leeway is how long before it expires an access token is replaced: long enough
// for a request, and at most half of the shortest lifetime. It exceeds the 10 s
// of golang.org/x/oauth2.
const leeway = 15 * time.Second

// AccessToken returns the session's access token, refreshed if it expires
// within 15 s. While the server is unreachable, it returns the old access token
// until that expires. Errors are those of [Client.RefreshSession].
func (c *Client) AccessToken(ctx context.Context, s *Session) (Tokens, error) {
	return c.TokenFor(ctx, s, Target{})
}

func (c *Client) isFresh(t Tokens) bool { return c.now().Before(t.Expiry.Add(-leeway)) }

// RefreshSession obtains a new access token and the next refresh token (RFC
// 6749 §6). A session that has only a session token exchanges that for an
// access token. Access tokens for targets are replaced when they are next
// requested.
//
// Concurrent callers share one refresh, which continues when the caller who
// started it gives up. After a network error, a timeout, a 429 or a 5xx the
// same refresh token is sent again; the server answers with the same successor.
// A pending step-up ([Tokens.Pending]) is sent again first.
//
// An error that wraps [ErrUnavailable] leaves the session unchanged; the next
// call tries again. An error that wraps [ErrSessionEnded] means that the
// session has ended. Any other error is an [Error]. With
// [ReasonRefreshSuperseded] or [ReasonSessionTokenSuperseded] the session
// continues, but another process has newer tokens than this Session and its
// [Store].
func (c *Client) RefreshSession(ctx context.Context, s *Session) error {
	_, err := c.refreshFor(ctx, s, Target{}, s.Tokens().AccessToken)
	if err == nil {
		s.dropTargetTokens()
	}
	return err
}

// refreshFor returns a token for a target other than had. All targets share one
// refresh token, so their requests run one after another.
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
			return Tokens{}, err // but the failure of a step-up does not predict that of a refresh
		}
	}
}

// update is the result of a request that changes a session's tokens.
type update struct {
	tokens       Tokens // the session's tokens from now on
	targetTokens Tokens // for the requested target, if any
	saved        bool   // tokens are in the store, or must not be stored
	steppedUp    bool   // a step-up took place: tokens for targets are outdated
}

// refresh obtains the next tokens. Beside an error it returns the tokens of a
// pending step-up that was answered first.
func (c *Client) refresh(ctx context.Context, s *Session, target Target) (update, error) {
	r := refreshOperation{client: c, session: s, target: target}
	err := c.withRetry(ctx, r.attempt)
	if err != nil {
		return update{tokens: r.afterStepUp, steppedUp: r.afterStepUp.SessionID != ""}, err
	}
	r.result.steppedUp = r.afterStepUp.SessionID != ""
	return r.result, nil
}

// refreshOperation is the state of a refresh over its attempts.
type refreshOperation struct {
	client  *Client
	session *Session
	target  Target

	afterStepUp Tokens // result of a pending step-up; zero: there was none
	sent        Tokens // the tokens that the request was sent with
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

// request loads the stored tokens, resolves a pending step-up, and sends the
// refresh.
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
	// Another process may have refreshed first: use its tokens.
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

// isAlreadyFresh reports whether the session has a fresh access token of its
// own other than had: from another Session value, another process, or a
// step-up.
func (r *refreshOperation) isAlreadyFresh(t, had Tokens) bool {
	return r.target.key() == "" && t.AccessToken != had.AccessToken && r.client.isFresh(t)
}

// resolvePending sends a pending step-up again. If it is refused, the session
// continues without it.
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

// refreshAnswer is the response to a refresh.
type refreshAnswer struct {
	update
	spentByStepUp bool // a step-up has used the refresh token
}

// requestSuccessor sends the refresh.
//
// A response for a target contains the session's next refresh token, but no
// access token of the session itself. A response without a refresh token is for
// the time before a step-up that used the refresh token. It is not saved,
// because the tokens of the step-up belong into the store.
func (r *refreshOperation) requestSuccessor(ctx context.Context, t Tokens) (got refreshAnswer, err error) {
	if err := r.session.refusalOf(t); err != nil {
		return refreshAnswer{}, err
	}
	next, err := r.client.requestRefresh(ctx, t, r.target)
	if err != nil {
		r.session.rememberRefusal(t, err)
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

// refusalOf returns the error with which the tokens were refused because newer ones
// exist, or nil.
func (s *Session) refusalOf(t Tokens) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale.err == nil || s.stale.token != t.RefreshToken {
		return nil
	}
	return s.stale.err
}

// rememberRefusal keeps err for refusalOf if it says that the refresh token is
// superseded.
func (s *Session) rememberRefusal(t Tokens, err error) {
	if !hasReason(err, ReasonRefreshSuperseded) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = staleToken{t.RefreshToken, err}
}

func (c *Client) requestRefresh(ctx context.Context, t Tokens, target Target) (Tokens, error) {
	if t.RefreshToken == "" && t.SessionToken == "" {
		return Tokens{}, fmt.Errorf("%w: it has neither a refresh token nor a session token", ErrSessionEnded)
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
		return Tokens{}, fmt.Errorf("%w: unexpected refresh response: session_id is %q, expected %q", ErrUnavailable, next.SessionID, t.SessionID)
	}
	return next, nil
}

// withSessionEnded adds ErrSessionEnded to refusals that mean the end of a
// session: invalid_grant with one of the reasons for it, or without a reason,
// from a server that gives none. Others do not, such as invalid_client (RFC 6749
// §5.2), or a reason of a later release, which may leave the session as it is.
func withSessionEnded(err error) error {
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.StatusCode != http.StatusBadRequest || refusal.Code != "invalid_grant" {
		return err
	}
	switch refusal.Reason {
	case ReasonSessionEnded, ReasonRefreshReused, ReasonRefreshUnknown, "":
		return fmt.Errorf("%w: %w", ErrSessionEnded, err)
	}
	return err
}

// isSuperseded reports whether a token was refused although its session
// continues: another process has a newer one.
func isSuperseded(err error) bool {
	return hasReason(err, ReasonRefreshSuperseded) || hasReason(err, ReasonSessionTokenSuperseded) || hasReason(err, ReasonChainMismatch)
}

func hasReason(err error, reason string) bool {
	var refusal *Error
	return errors.As(err, &refusal) && refusal.Reason == reason
}
