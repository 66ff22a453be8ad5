package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

var errSignedOut = fmt.Errorf("%w: it was signed out here", ErrSessionEnded)

// RevokeSession ends the session that a token belongs to (RFC 7009): its
// access, refresh or session token, used ones too. A token of a session that is
// over already is no error. Repeated as a refresh is, since it does no harm.
func (c *Client) RevokeSession(ctx context.Context, token string) error {
	if err := c.revokeToken(ctx, token); err != nil {
		return fmt.Errorf("revoke session: %w", err)
	}
	return nil
}

// SignOut ends a session and its handle. After an error that wraps
// [ErrUnavailable] the handle is still good, so that it can be tried again.
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
