package oauth

import (
	"context"
	"net/url"
)

// clientCredentials is the grant of a client that acts on its own behalf (RFC
// 6749 §4.4). It opens no session.
func (s *Server) clientCredentials(_ context.Context, _ *Call, c *Client, form url.Values) (issue, error) {
	targets, err := grantTargets(c, form)
	if err != nil {
		return nil, err
	}
	scope, err := grantScope(c, form.Get("scope"))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (tokenResponse, error) {
		release, err := s.tokenSlots.acquire(ctx)
		if err != nil {
			return tokenResponse{}, err
		}
		defer release()
		now := s.now()
		expiry := now.Add(c.Settings.Policy().AccessTTL)
		access, err := s.mint(c, map[string]any{"sub": c.ID}, targets, scope, now, expiry, noCustomClaims)
		if err != nil {
			return tokenResponse{}, err
		}
		return access.response(scope), nil
	}, nil
}
