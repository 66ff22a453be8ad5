package latchkey

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// StepUpParams say what a step-up brings.
type StepUpParams struct {
	SubjectTokenType string // default TokenTypeJWT
	Demand                  // that the raised session must meet
}

// StepUp raises a session by one more proof of its user, a client token, and
// replaces its tokens. What a resource server demands is in its challenge: see
// [ParseChallenge].
//
// After a lost answer the session's old refresh token yields the raised session,
// which StepUp sees to. An [Error] leaves the session as it was:
// unmet_authentication_requirements if the proof is not what was demanded,
// invalid_request if the client token is not good, or another user's.
func (c *Client) StepUp(ctx context.Context, s *Session, clientToken string, p StepUpParams) error {
	if s.Tokens().RefreshToken == "" && c.by.secret != "" {
		if _, err := c.AccessToken(ctx, s); err != nil { // by which it names the session
			return fmt.Errorf("step up: %w", err)
		}
	}
	err := c.lead(ctx, s, func(ctx context.Context, s *Session) (issued, error) {
		t, err := c.stepUp(ctx, s, clientToken, p)
		return issued{tokens: t}, err
	}).wait(ctx)
	if err != nil {
		return fmt.Errorf("step up: %w", err)
	}
	return nil
}

// stepUp may return tokens with its error: those of a refresh that found out
// that the session was not raised.
func (c *Client) stepUp(ctx context.Context, s *Session, clientToken string, p StepUpParams) (t Tokens, err error) {
	u := stepUp{client: c, session: s, token: clientToken, params: p}
	if err = c.insist(ctx, u.attempt); err == nil {
		err = u.refused
	}
	if u.saved {
		t = *u.got
	}
	return t, err
}

// stepUp is a step-up under way.
type stepUp struct {
	client  *Client
	session *Session
	token   string
	params  StepUpParams

	had     *Tokens
	lost    bool  // an answer to it did not come
	refused error // although the tokens were replaced
	got     *Tokens
	saved   bool
}

func (u *stepUp) attempt(ctx context.Context) error {
	if u.had == nil {
		t, err := u.session.load(ctx)
		if err != nil {
			return err
		}
		u.had = &t
	}
	if u.got == nil {
		t, err := u.client.raise(ctx, *u.had, u.token, u.params)
		if u.lost && err != nil && !errors.Is(err, ErrUnavailable) {
			t, err = u.recover(ctx, err)
		}
		if err != nil {
			u.lost = u.lost || errors.Is(err, ErrUnavailable)
			return err
		}
		u.got = &t
	}
	err := u.session.save(ctx, *u.got)
	u.saved = err == nil
	return err
}

// recover finds out what became of a step-up whose answer was lost and whose
// repetition is refused, as it is when the first one spent the client token. The
// successor of the old token is the raised session's, if it was raised.
func (u *stepUp) recover(ctx context.Context, refused error) (Tokens, error) {
	got, err := u.client.successor(ctx, *u.had, Target{})
	if err == nil && proofs(got.tokens.AccessToken) == proofs(u.had.AccessToken) {
		u.refused = refused
	}
	return got.tokens, err
}

// proofs are what an access token says of how its user signed in. It is not
// verified: it came from the token endpoint itself.
func proofs(accessToken string) (p struct{ acr, amr, authTime, times string }) {
	var claims struct {
		ACR, AMR json.RawMessage
		AuthTime json.RawMessage `json:"auth_time"`
		Times    json.RawMessage `json:"acr_times"`
	}
	parts := strings.Split(accessToken, ".")
	if len(parts) != 3 {
		return p
	}
	if text, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(text, &claims) == nil {
		p.acr, p.amr, p.authTime, p.times = string(claims.ACR), string(claims.AMR), string(claims.AuthTime), string(claims.Times)
	}
	return p
}

// raise asks once.
func (c *Client) raise(ctx context.Context, had Tokens, clientToken string, p StepUpParams) (Tokens, error) {
	form := exchangeForm(p.SubjectTokenType, clientToken, p.Demand)
	form.Set("latchkey_session_token", c.names(had))
	t, err := c.token(ctx, form)
	if err != nil {
		return Tokens{}, sessionOver(err)
	}
	if t.SessionID != had.SessionID {
		return Tokens{}, fmt.Errorf("%w: the answer to a step-up is about another session", ErrUnavailable)
	}
	return t.over(had), nil
}

// names is the token that names the session to be raised: the refresh token,
// whose successor a lost answer does not take away. A session token is replaced
// with nothing that yields its successor but another proof, so a client that
// authenticates sends the access token instead, which replaces nothing.
func (c *Client) names(t Tokens) string {
	if t.RefreshToken == "" && c.by.secret != "" {
		return t.AccessToken
	}
	return t.anyOf()
}
