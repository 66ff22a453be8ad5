package oauth

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// Grant types on the wire.
const (
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693 §2.1
	grantRefreshToken      = "refresh_token"                                   // RFC 6749 §6
	grantClientCredentials = "client_credentials"                              // RFC 6749 §4.4
)

// wireGrant maps a configured grant to its grant_type.
var wireGrant = map[string]string{
	settings.GrantTokenExchange:     grantTokenExchange,
	settings.GrantRefresh:           grantRefreshToken,
	settings.GrantClientCredentials: grantClientCredentials,
}

// grantTypes lists the grants in the order in which metadata names them.
var grantTypes = []string{grantTokenExchange, grantRefreshToken, grantClientCredentials}

// A grant checks everything that can reject a token request. It writes nothing,
// and returns a function that carries out the request.
type grant func(ctx context.Context, call *Call, c *Client, form url.Values) (issue, error)

// issue carries out a token request that a grant has allowed.
type issue func(ctx context.Context) (tokenResponse, error)

// grants returns the grants by grant_type.
func (s *Server) grants() map[string]grant {
	return map[string]grant{
		grantTokenExchange:     s.exchange,
		grantRefreshToken:      s.refresh,
		grantClientCredentials: s.clientCredentials,
	}
}

// grants returns the grant types that the client may use.
func (c *Client) grants() []string {
	var types []string
	for _, g := range c.Settings.Grants {
		types = append(types, wireGrant[g])
	}
	return types
}

// mayUse reports whether the client may use a grant type.
func (c *Client) mayUse(grant string) bool { return slices.Contains(c.grants(), grant) }

// tokenResponse is the response of every grant (RFC 6749 §5.1, RFC 8693
// §2.2.1).
type tokenResponse struct {
	AccessToken      string  `json:"access_token"`
	IssuedTokenType  string  `json:"issued_token_type,omitempty"`
	TokenType        string  `json:"token_type"`
	ExpiresIn        int64   `json:"expires_in"` // seconds
	Scope            string  `json:"scope"`
	RefreshToken     string  `json:"refresh_token,omitempty"`
	SessionToken     string  `json:"session_token,omitempty"`
	SessionID        string  `json:"session_id,omitempty"`
	SessionExpiresAt int64   `json:"session_expires_at,omitempty"`  // Unix seconds: the session's end, not the token's
	Generation       *uint32 `json:"latchkey_generation,omitempty"` // of the session's refresh token; absent: no session
	RefreshGrace     *int64  `json:"refresh_grace,omitempty"`       // seconds
}

// setSession adds the session to the response. A client that has two responses
// uses the generation to tell which is newer: it increases whenever the
// session's handles are replaced, and is equal in repeated responses.
func (r *tokenResponse) setSession(c *Client, row *models.Session, generation uint32) {
	grace := int64(c.Settings.Policy().RefreshGrace / time.Second)
	r.SessionID, r.SessionExpiresAt = row.ID.String(), row.AbsoluteExpiry.Unix()
	r.Generation, r.RefreshGrace = &generation, &grace
}

// checkGrant rejects a grant type that the client may not use.
func (c *Client) checkGrant(name string) error {
	if c.mayUse(name) {
		return nil
	}
	return refuse("unauthorized_client", ReasonGrantNotAllowed, "The client may not use this grant_type; add it to grants of the client").compare(strings.Join(c.grants(), " or "), name)
}
