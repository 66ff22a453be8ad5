package latchkey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// Types of subject tokens (RFC 8693 §3).
const (
	TokenTypeJWT     = "urn:ietf:params:oauth:token-type:jwt"      // a client token
	TokenTypeIDToken = "urn:ietf:params:oauth:token-type:id_token" // an ID token of an OpenID provider

	tokenTypeSession = "urn:latchkey:params:oauth:token-type:session"
	grantExchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// CreateParams describe the session to create. The zero value uses the client's
// defaults.
type CreateParams struct {
	SubjectTokenType string   // default: TokenTypeJWT
	Scope            []string // default: the client's default scopes
	Audience         []string // intended recipients of the access tokens; default: the client itself
	Resource         []string // more recipients, as URIs
	DeviceName       string   // shown in the user's list of devices
	Demand
}

// CreateSession exchanges a client token, the proof that a user has just signed
// in, for a session (RFC 8693).
//
// A client token can be used once. The request is repeated after errors that
// wrap [ErrUnavailable]; if the first response was lost, the repetition is
// refused and the user must sign in again. Every refusal is an [Error]:
// invalid_request for an invalid or used client token,
// unmet_authentication_requirements if the authentication does not meet the
// demand.
func (c *Client) CreateSession(ctx context.Context, clientToken string, p CreateParams) (*Session, error) {
	var t Tokens
	err := c.withRetry(ctx, func(ctx context.Context) (err error) {
		t, err = c.requestToken(ctx, p.form(clientToken))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create session: %w", err)
	}
	s := c.RestoreSession(t, nil)
	if err := s.write(ctx, t); err != nil {
		c.revokeToken(context.WithoutCancel(ctx), t.longestLived()) // it would stay open until it expires
		return nil, fmt.Errorf("create session: %w", err)
	}
	return s, nil
}

func (p CreateParams) form(clientToken string) url.Values {
	form := exchangeForm(p.SubjectTokenType, clientToken, p.Demand)
	if len(p.Scope) > 0 {
		form.Set("scope", strings.Join(p.Scope, " "))
	}
	if p.DeviceName != "" {
		form.Set("latchkey_device_name", p.DeviceName)
	}
	form["audience"], form["resource"] = p.Audience, p.Resource
	return form
}

func exchangeForm(kind, token string, d Demand) url.Values {
	if kind == "" {
		kind = TokenTypeJWT
	}
	form := url.Values{"grant_type": {grantExchange}, "subject_token_type": {kind}, "subject_token": {token}}
	d.addTo(form)
	return form
}

// ExchangeSessionToken returns a new access token for a session token. The
// session token stays valid, and the exchange counts as activity of the
// session. Errors are those of [Client.RefreshSession].
func (c *Client) ExchangeSessionToken(ctx context.Context, sessionToken string) (Tokens, error) {
	var t Tokens
	err := c.withRetry(ctx, func(ctx context.Context) (err error) {
		t, err = c.exchangeSessionToken(ctx, sessionToken, Target{})
		return err
	})
	return t, err
}

func (c *Client) exchangeSessionToken(ctx context.Context, sessionToken string, target Target) (Tokens, error) {
	form := exchangeForm(tokenTypeSession, sessionToken, Demand{})
	maps.Copy(form, target.form())
	t, err := c.requestToken(ctx, form)
	if refusal := (*Error)(nil); errors.As(err, &refusal) && refusal.StatusCode == http.StatusBadRequest && refusal.Code == "invalid_request" {
		// invalid_request is also the code of every malformed request. If the server
		// gives no reason, the session API shows whether the session has ended.
		switch refusal.Reason {
		case ReasonSessionEnded, ReasonSessionTokenUnknown:
			return Tokens{}, fmt.Errorf("%w: %w", ErrSessionEnded, err)
		case "":
		default:
			return Tokens{}, err
		}
		if _, ended := c.ValidateSession(ctx, sessionToken); errors.Is(ended, ErrSessionEnded) {
			return Tokens{}, fmt.Errorf("%w: %w", ErrSessionEnded, err)
		}
	}
	if err != nil {
		return Tokens{}, err
	}
	t.SessionToken = sessionToken
	return t, nil
}
