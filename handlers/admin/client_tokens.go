package admin

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// MintedToken is a new client token.
type MintedToken struct {
	ClientToken string `json:"client_token" doc:"The client token. It can be used once"`
	ExpiresIn   int    `json:"expires_in" doc:"The number of seconds for which it is valid"`
}

type clientTokenBody struct {
	Sub      string         `yaml:"sub"`
	AMR      []string       `yaml:"amr"`
	AuthTime int64          `yaml:"auth_time"`
	ACR      string         `yaml:"acr"`
	ClientID string         `yaml:"client_id"`
	Claims   map[string]any `yaml:"claims"`

	settings.Place
}

// MintClientToken mints a client token for a user whom the caller has signed in.
func (s *Service) MintClientToken(ctx context.Context, c *Caller, tenant string, body []byte) (*MintedToken, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	var b clientTokenBody
	if err := decodeBody(body, "", &b); err != nil {
		return nil, err
	}
	token := oauth.ClientToken{Sub: b.Sub, AMR: b.AMR, ACR: b.ACR, Client: b.ClientID, Claims: b.Claims}
	if _, given := b.Written["auth_time"]; given {
		if b.AuthTime <= 0 || b.AuthTime > 1<<37 {
			return nil, invalid(Fault{Pointer: "/auth_time", Detail: "must be a number of seconds since 1970"})
		}
		token.AuthTime = time.Unix(b.AuthTime, 0).UTC()
	}
	minted, err := s.OAuth.MintClientToken(ctx, tenant, token, c.Actor())
	var refused *oauth.Error
	if errors.As(err, &refused) {
		if refused.Reason == oauth.ReasonClientTokensOff {
			return nil, conflict(string(refused.Reason), refused.Description)
		}
		if refused.Status < 500 {
			return nil, invalid(Fault{Detail: refused.Description})
		}
	}
	if err != nil {
		return nil, err
	}
	return &MintedToken{minted, int(oauth.ClientTokenTTL / time.Second)}, nil
}

// IssuerCheck is the result of checking a trusted issuer. It contains nothing that the
// issuer sent.
type IssuerCheck struct {
	OK      bool   `json:"ok" doc:"Tokens of the issuer can be verified now"`
	Verdict string `json:"verdict" enum:"ok,unreachable,misconfigured" doc:"unreachable: its keys cannot be fetched now; misconfigured: its metadata or keys do not match the settings"`
	Detail  string `json:"detail" doc:"The result in a sentence, and what to do"`
}

// CheckIssuer fetches the metadata and the keys of a trusted issuer, as the first
// exchange of one of its tokens does.
func (s *Service) CheckIssuer(ctx context.Context, c *Caller, tenant, id string) (*IssuerCheck, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	stored, err := s.Store.StoredIssuer(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	entry := stored.Row.Settings
	if !entry.Keys.Discovery && entry.Keys.JWKSURI == "" {
		return &IssuerCheck{true, "ok", "Its keys are in the configuration, so there is nothing to fetch."}, nil
	}
	entry.Disabled = false
	checks := s.OAuth.CheckIssuers(ctx, []settings.IssuerSettings{entry})
	switch err := checks[0].Err; {
	case err == nil:
		return &IssuerCheck{true, "ok", "Its keys were fetched, and one of them matches the algorithms."}, nil
	case errors.Is(err, oauth.ErrIssuerMisconfigured):
		return &IssuerCheck{false, "misconfigured", oauth.IssuerAdvice(err)}, nil
	default:
		return &IssuerCheck{false, "unreachable", "Its metadata or keys cannot be fetched now. The server's log has the cause."}, nil
	}
}
