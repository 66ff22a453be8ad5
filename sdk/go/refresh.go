package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
	if t := s.Tokens(); s.Err() == nil && c.fresh(t) {
		return t, nil
	}
	err := c.refreshInTime(ctx, s)
	t := s.Tokens()
	if err != nil && (!errors.Is(err, ErrUnavailable) || !c.now().Before(t.Expiry)) {
		return Tokens{}, err
	}
	return t, nil
}

// refreshInTime does not wait for the whole retry window while there is a token
// that still lives. The refresh goes on without it.
func (c *Client) refreshInTime(ctx context.Context, s *Session) error {
	if c.now().Before(s.Tokens().Expiry) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.window/3)
		defer cancel()
	}
	return c.RefreshSession(ctx, s)
}

func (c *Client) fresh(t Tokens) bool { return c.now().Before(t.Expiry.Add(-leeway)) }

// RefreshSession gets the session a fresh access token and the next refresh
// token (RFC 6749 §6), or, if it has only a session token, swaps that for an
// access token.
//
// It is done once for all who ask at the same moment, and goes on when one of
// them gives up. The same refresh token is sent again after a network error, a
// timeout, a 429 or a 5xx, which the server answers with the same successor. An
// error that wraps [ErrUnavailable] leaves the session as it was; one that wraps
// [ErrSessionEnded] says that it is over; any other is an [Error].
func (c *Client) RefreshSession(ctx context.Context, s *Session) error {
	had := s.Tokens().AccessToken
	for {
		f := c.join(ctx, s, had, c.refresh)
		err := f.wait(ctx)
		if err == nil || !f.stepUp || ctx.Err() != nil || s.Err() != nil {
			return err
		}
		// A step-up that failed says nothing about a refresh.
	}
}

// refresh asks for what comes after the session's tokens.
func (c *Client) refresh(ctx context.Context, s *Session) (Tokens, error) {
	had, got := s.Tokens(), s.waiting()
	err := c.insist(ctx, func(ctx context.Context) error {
		if got == nil {
			t, err := c.renew(ctx, s, had)
			if err != nil {
				return err
			}
			got = &t
		}
		return s.save(ctx, *got)
	})
	if err != nil {
		return Tokens{}, err
	}
	return *got, nil
}

// renew asks the store and then the server. What the store has instead of the
// tokens that this handle had came from another handle, or another process.
func (c *Client) renew(ctx context.Context, s *Session, had Tokens) (Tokens, error) {
	latest, err := s.load(ctx)
	if err != nil {
		return Tokens{}, err
	}
	if latest.AccessToken != had.AccessToken && c.fresh(latest) {
		return latest, nil
	}
	t, err := c.successor(ctx, latest)
	if errors.Is(err, ErrSessionEnded) && s.store != nil {
		// Another process may have been faster by two steps.
		if again, failed := s.load(ctx); failed != nil {
			return Tokens{}, failed
		} else if again.RefreshToken != latest.RefreshToken {
			return c.successor(ctx, again)
		}
	}
	return t, err
}

func (c *Client) successor(ctx context.Context, t Tokens) (Tokens, error) {
	if t.RefreshToken == "" && t.SessionToken == "" {
		return Tokens{}, fmt.Errorf("%w: it has no token to go on with", ErrSessionEnded)
	}
	if t.RefreshToken == "" {
		next, err := c.swap(ctx, t.SessionToken)
		return next.over(t), err
	}
	next, err := c.token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.RefreshToken}})
	if err != nil {
		return Tokens{}, sessionOver(err)
	}
	if next.SessionID != t.SessionID {
		return Tokens{}, fmt.Errorf("%w: the answer to a refresh is about another session", ErrUnavailable)
	}
	return next.over(t), nil
}

// sessionOver tells the one refusal that means the end of a session from others,
// such as invalid_client (RFC 6749 §5.2).
func sessionOver(err error) error {
	var refusal *Error
	if errors.As(err, &refusal) && refusal.StatusCode == http.StatusBadRequest && refusal.Code == "invalid_grant" {
		return fmt.Errorf("%w: %w", ErrSessionEnded, err)
	}
	return err
}
