package latchkey

import (
	"context"

	"golang.org/x/oauth2"
)

// TokenSource gives the session's access token to golang.org/x/oauth2, fresh
// when it is about to expire. Those who ask at the same moment share a refresh.
//
// [oauth2.NewClient] keeps a token of its own until that expires, also after a
// step-up. An [oauth2.Transport] with the source asks each time.
func (c *Client) TokenSource(ctx context.Context, s *Session) oauth2.TokenSource {
	return tokenSource{ctx, c, s, Target{}}
}

// TokenSourceFor is a TokenSource of access tokens for a target alone, as
// [Client.TokenFor] has them: one for each resource server.
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
