package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

var errSignedOut = fmt.Errorf("%w: signed out by this app", ErrSessionEnded)

// RevokeSession ends the session of a token: an access, refresh or session
// token, even a used one (RFC 7009). It succeeds if the session has already
// ended. The request is repeated like a refresh.
func (c *Client) RevokeSession(ctx context.Context, token string) error {
	if err := c.revokeToken(ctx, token); err != nil {
		return fmt.Errorf("revoke session: %w", err)
	}
	return nil
}

// SignOut ends a session. After an error that wraps [ErrUnavailable] the
// Session stays usable, so that SignOut can be called again.
func (c *Client) SignOut(ctx context.Context, s *Session) error {
	if errors.Is(s.Err(), ErrSessionEnded) {
		return nil
	}
	if err := c.RevokeSession(ctx, s.Tokens().longestLived()); err != nil {
		return err
	}
	s.markEnded(errSignedOut)
	return nil
}

func (c *Client) revokeToken(ctx context.Context, token string) error {
	return c.withRetry(ctx, func(ctx context.Context) error {
		m, err := c.issuer.Metadata(ctx)
		if err != nil {
			return err
		}
		return c.endpoint.postForm(ctx, m.RevocationEndpoint, url.Values{"token": {token}}, c.credentials, nil)
	})
}
