package latchkey

import (
	"context"

	"golang.org/x/oauth2"
)

// TokenSource returns the session's access token as a source for
// golang.org/x/oauth2. Its tokens are refreshed when they are about to expire;
// concurrent callers share a refresh.
//
// Use it in an [oauth2.Transport], which asks for the token with every request.
// [oauth2.NewClient] would cache a token until it expires, even after a
// step-up.
func (c *Client) TokenSource(ctx context.Context, s *Session) oauth2.TokenSource {
	return tokenSource{ctx, c, s, Target{}}
}

// TokenSourceFor is like TokenSource, for access tokens for a target alone: see
// [Client.TokenFor].
func (c *Client) TokenSourceFor(ctx context.Context, s *Session, target Target) oauth2.TokenSource {
	return tokenSource{ctx, c, s, target}
}

type tokenSource struct {
	ctx     context.Context
	client  *Client
	session *Session
	target  Target
}

// Token implements oauth2.TokenSource.
func (s tokenSource) Token() (*oauth2.Token, error) {
	t, err := s.client.TokenFor(s.ctx, s.session, s.target)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: t.AccessToken, TokenType: "Bearer", Expiry: t.Expiry}, nil
}
