package oauth

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

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

// grantState is what one token request carries through fosite, which calls it
// a session. It is never stored.
type grantState struct {
	fosite.DefaultSession
	call     *Call
	exchange *exchange
	refresh  *refresh
	machine  *machineGrant
	answer   tokenResponse
}

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
func (r *tokenResponse) ofSession(c *Client, row *models.Session, generation uint32) {
	grace := int64(c.Settings.Policy().RefreshGrace / time.Second)
	r.SessionID, r.SessionExpiresAt = row.ID.String(), row.AbsoluteExpiry.Unix()
	r.Generation, r.RefreshGrace = &generation, &grace
}

// done tells fosite that the request has been answered; the answer itself is
// in the state and written in one place.
func (g *grantState) done(responder fosite.AccessResponder) error {
	responder.SetAccessToken(g.answer.AccessToken)
	responder.SetTokenType(g.answer.TokenType)
	return nil
}

// stateOf is the state of a request, and its client.
func stateOf(request fosite.AccessRequester) (*grantState, *Client) {
	return request.GetSession().(*grantState), request.GetClient().(*Client)
}

// isGrant says whether the request is of exactly this grant type: fosite
// splits the parameter at spaces, the RFC does not.
func isGrant(request fosite.AccessRequester, grant string) bool {
	return request.GetRequestForm().Get("grant_type") == grant
}

// grantGate is the first handler of every token request. It answers what is
// asked before any grant: is there such a grant, and may the client use it.
type grantGate struct{}

// CanHandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (grantGate) CanHandleTokenEndpointRequest(context.Context, fosite.AccessRequester) bool {
	return true
}

// CanSkipClientAuth implements fosite.TokenEndpointHandler.
func (grantGate) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// HandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (grantGate) HandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) error {
	_, client := stateOf(request)
	grant := request.GetRequestForm().Get("grant_type")
	switch {
	case !slices.Contains(grantTypes, grant):
		return refuse("unsupported_grant_type", ReasonGrantUnsupported, "Unsupported grant_type").compare(strings.Join(grantTypes, " or "), grant)
	case !slices.Contains(client.GetGrantTypes(), grant):
		return refuse("unauthorized_client", ReasonGrantNotAllowed, "The client may not use this grant_type; see its grants").compare(strings.Join(client.GetGrantTypes(), " or "), grant)
	default:
		return fosite.ErrUnknownRequest // the next handler's turn
	}
}

// PopulateTokenEndpointResponse implements fosite.TokenEndpointHandler.
func (grantGate) PopulateTokenEndpointResponse(context.Context, fosite.AccessRequester, fosite.AccessResponder) error {
	return fosite.ErrUnknownRequest
}
