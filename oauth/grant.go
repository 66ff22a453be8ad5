package oauth

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
)

// Grant types on the wire.
const (
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693 §2.1
	grantRefreshToken      = "refresh_token"                                   // RFC 6749 §6
	grantClientCredentials = "client_credentials"                              // RFC 6749 §4.4
)

// wireGrant is a configured grant as the wire names it.
var wireGrant = map[string]string{
	models.GrantTokenExchange:     grantTokenExchange,
	models.GrantRefresh:           grantRefreshToken,
	models.GrantClientCredentials: grantClientCredentials,
}

// grantTypes lists the grants in the order in which metadata names them.
var grantTypes = []string{grantTokenExchange, grantRefreshToken, grantClientCredentials}

// A grant checks everything that can refuse a token request, writes nothing, and
// returns what carries the request out.
type grant func(ctx context.Context, call *Call, c *Client, form url.Values) (issue, error)

// issue carries out a token request that a grant has allowed.
type issue func(ctx context.Context) (tokenResponse, error)

// grants returns the grants by their names on the wire.
func (s *Server) grants() map[string]grant {
	return map[string]grant{
		grantTokenExchange:     s.exchange,
		grantRefreshToken:      s.refresh,
		grantClientCredentials: s.clientCredentials,
	}
}

// grants returns the grant types that the client may use, as the wire names them.
func (c *Client) grants() []string {
	var types []string
	for _, g := range c.Settings.Grants {
		types = append(types, wireGrant[g])
	}
	return types
}

// mayUse reports whether the client may use a grant type of the wire.
func (c *Client) mayUse(grant string) bool { return slices.Contains(c.grants(), grant) }

// tokenResponse is the answer of every grant (RFC 6749 §5.1, RFC 8693 §2.2.1).
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

// ofSession says what the answer is about. generation tells which of two
// answers is newer: it rises with everything that replaces the session's
// handles, and is equal in repeated answers.
func (r *tokenResponse) setSession(c *Client, row *models.Session, generation uint32) {
	grace := int64(c.Settings.Policy().RefreshGrace / time.Second)
	r.SessionID, r.SessionExpiresAt = row.ID.String(), row.AbsoluteExpiry.Unix()
	r.Generation, r.RefreshGrace = &generation, &grace
}
