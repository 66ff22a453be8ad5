package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/issuerkeys"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// typClientToken is the typ of client tokens that this server mints.
const typClientToken = "client-token+jwt"

// internalAlgorithms are those that a tenant's own keys may have.
var internalAlgorithms = []string{"RS256", "ES256", "EdDSA"}

// ringSource are the keys of a tenant itself, for its internal issuer.
type ringSource struct {
	ring *keys.Ring
	now  func() time.Time
}

// Keys implements issuerkeys.Source.
func (s ringSource) Keys(_ context.Context, match func(jose.JSONWebKey) bool) ([]jose.JSONWebKey, error) {
	return issuerkeys.Matching(s.ring.JWKS(s.now()).Keys, match), nil
}

// ClientToken is a client token to mint.
type ClientToken struct {
	Sub      string
	AMR      []string
	AuthTime time.Time // zero: now
	ACR      string
	Client   string         // the only client that may exchange it; empty: any
	Claims   map[string]any // further claims
}

// reservedTokenClaims are claims that the server itself decides.
var reservedTokenClaims = []string{"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "amr", "acr", "auth_time", "client_id", "azp", "sid", "cnf", "act", "events"}

// MintClientToken returns a client token of the tenant's internal issuer: it is valid
// for a minute, and once. An *Error says what is wrong with the request. ErrNotFound:
// there is no such tenant.
func (s *Server) MintClientToken(ctx context.Context, tenantID string, c ClientToken, by models.Actor) (string, error) {
	t, err := s.registry.tenant(ctx, tenantID)
	if err != nil {
		return "", err
	}
	return s.mintClientToken(ctx, t, c, by)
}

// MintsClientTokens reports whether the tenant has an internal issuer that is enabled.
// ErrNotFound: there is no such tenant.
func (s *Server) MintsClientTokens(ctx context.Context, tenantID string) (bool, error) {
	t, err := s.registry.tenant(ctx, tenantID)
	if err != nil {
		return false, err
	}
	return t.mintsClientTokens(), nil
}

func (t *Tenant) mintsClientTokens() bool {
	return slices.ContainsFunc(t.issuers, func(e *issuerEntry) bool { return e.Settings.Keys.Internal && e.Enabled() })
}

func (s *Server) mintClientToken(ctx context.Context, t *Tenant, c ClientToken, by models.Actor) (string, error) {
	if !t.mintsClientTokens() {
		return "", invalidRequest(ReasonClientTokensOff, "The tenant mints no client tokens; add a trusted issuer with keys.internal")
	}
	now := s.now()
	claims, err := c.claims(t, now)
	if err != nil {
		return "", err
	}
	release, err := s.tokenSlots.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	token, err := t.ring.Sign(now, typClientToken, claims)
	if err != nil {
		return "", err
	}
	details := map[string]any{"amr": c.AMR}
	if c.Client != "" {
		details["for_client"] = c.Client
	}
	// The event names no user: what the token says is mapped to one when it is
	// exchanged, and that event names the user.
	return token, s.store.AddAudit(ctx, models.EventClientTokenMinted, t.ID, by, details)
}

func (c ClientToken) claims(t *Tenant, now time.Time) (map[string]any, error) {
	invalid := func(why string) error { return invalidRequest(ReasonParameterInvalid, why) }
	amr := make([]any, len(c.AMR))
	for i, method := range c.AMR {
		amr[i] = method
	}
	_, badAMR := amrClaim(amr)
	text, err := jws.EncodeJSON(c.Claims)
	switch {
	case !validSubject(c.Sub):
		return nil, invalid("sub must be 1 to 255 printable ASCII characters")
	case badAMR != nil:
		return nil, invalid("amr must be a list of at most 20 short strings")
	case c.AuthTime.After(now.Add(leeway)):
		return nil, invalid("auth_time must not be in the future")
	case len(c.ACR) > 255 || malformed(c.ACR):
		return nil, invalid("acr must be at most 255 bytes of text")
	case c.Client != "" && t.client(c.Client) == nil:
		return nil, invalid("client_id must be a client of the tenant")
	case err != nil || len(text) > maxClaims || containsNUL(c.Claims):
		return nil, invalid("claims must be at most 4 KiB as JSON, without NUL characters")
	}
	for _, name := range reservedTokenClaims {
		if _, given := c.Claims[name]; given {
			return nil, invalid("claims must not contain " + name + ", which the server decides")
		}
	}
	claims := map[string]any{}
	maps.Copy(claims, c.Claims)
	at := now
	if !c.AuthTime.IsZero() {
		at = c.AuthTime
	}
	maps.Copy(claims, map[string]any{
		"iss": t.Issuer + settings.ClientTokensPath, "aud": t.Issuer, "sub": c.Sub, "jti": newJTI(),
		"iat": now.Unix(), "exp": now.Add(ClientTokenTTL).Unix(), "auth_time": at.Unix(),
	})
	if len(amr) > 0 {
		claims["amr"] = amr
	}
	if c.ACR != "" {
		claims["acr"] = c.ACR
	}
	if c.Client != "" {
		claims["client_id"] = c.Client
	}
	return claims, nil
}

// clientTokenRequest is the body of a request for a client token.
type clientTokenRequest struct {
	Sub      string         `json:"sub"`
	AMR      []string       `json:"amr"`
	AuthTime *int64         `json:"auth_time"`
	ACR      string         `json:"acr"`
	ClientID string         `json:"client_id"`
	Claims   map[string]any `json:"claims"`
}

// ClientTokens serves POST {iss}/client-tokens, for back ends with mint_client_tokens.
func (s *Server) ClientTokens(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		if _, err := parseQuery(r); err != nil {
			return err
		}
		c, err := s.authenticateClient(ctx, call, r, url.Values{})
		switch {
		case err != nil:
			return err
		case c.Settings.Public() || !c.Settings.MintClientTokens:
			return &Error{Code: "unauthorized_client", Reason: ReasonClientNotAllowed, Status: http.StatusForbidden, Description: "The client may not mint client tokens; set mint_client_tokens in its configuration"}
		}
		request, err := readClientTokenRequest(r)
		if err != nil {
			return err
		}
		token := ClientToken{Sub: request.Sub, AMR: request.AMR, ACR: request.ACR, Client: request.ClientID, Claims: request.Claims}
		if request.AuthTime != nil {
			if *request.AuthTime <= 0 || *request.AuthTime > 1<<37 {
				return invalidRequest(ReasonParameterInvalid, "auth_time must be a number of seconds since 1970")
			}
			token.AuthTime = time.Unix(*request.AuthTime, 0).UTC()
		}
		minted, err := s.mintClientToken(ctx, c.tenant, token, models.Actor{Name: "client " + c.ID, IP: call.IP})
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, map[string]any{"client_token": minted, "expires_in": int64(ClientTokenTTL / time.Second)})
		return nil
	})
}

func readClientTokenRequest(r *http.Request) (*clientTokenRequest, error) {
	// encoding/json would take the second of two members, and names in another case.
	members, body, err := readJSON(r)
	if err != nil {
		return nil, err
	}
	for name := range members {
		if !slices.Contains([]string{"sub", "amr", "auth_time", "acr", "client_id", "claims"}, name) {
			return nil, invalidRequest(ReasonParameterInvalid, "The body may have sub, amr, auth_time, acr, client_id and claims, and nothing else")
		}
	}
	var request clientTokenRequest
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&request); err != nil {
		return nil, invalidRequest(ReasonParameterInvalid, "sub, acr and client_id must be text, amr a list of text, auth_time a whole number, and claims an object")
	}
	if claims, ok := members["claims"].(map[string]any); ok {
		request.Claims = claims // without the loss of digits of float64
	}
	return &request, nil
}
