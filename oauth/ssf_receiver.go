package oauth

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings/decode"
)

// Scopes of a client that receives security events (CAEP Interoperability Profile
// 1.0). ssf.manage includes ssf.read.
const (
	ScopeSSFRead   = "ssf.read"
	ScopeSSFManage = "ssf.manage"
)

// authenticateReceiver authenticates a client that receives security events. It uses
// either its secret, by HTTP Basic, or an access token that it got for itself, with
// one of the scopes. Its configuration must still list the scope.
func (s *Server) authenticateReceiver(ctx context.Context, call *Call, r *http.Request, scopes ...string) (*Client, error) {
	var granted []string
	var c *Client
	var err error
	bearer := !AsClient(r)
	if bearer {
		c, granted, err = s.receiverOfToken(ctx, call, r)
	} else if c, err = s.authenticateClient(ctx, call, r, url.Values{}); err == nil {
		granted = c.Settings.Scopes
	}
	switch {
	case err != nil:
		return nil, err
	case c.Settings.Public():
		return nil, invalidClient(errors.New("a public client may not receive security events"))
	case !slices.ContainsFunc(intersect(scopes, granted), func(scope string) bool { return slices.Contains(c.Settings.Scopes, scope) }):
		e := &Error{Code: "insufficient_scope", Reason: ReasonScopeInsufficient, Status: http.StatusForbidden, Bearer: bearer,
			Description: "The request requires the scope " + strings.Join(scopes, " or ") + ": scopes of the client must list it, and a token must have it"}
		return nil, e.compare(strings.Join(scopes, " or "), strings.Join(granted, " "))
	}
	return c, nil
}

// receiverOfToken returns the client that an access token was issued to, and the
// token's scopes. The token must be one of the client credentials grant, and its
// audience must be the client itself or the issuer: a resource server that received
// it must not be able to act for the client here.
func (s *Server) receiverOfToken(ctx context.Context, call *Call, r *http.Request) (*Client, []string, error) {
	token, err := readBearer(r.Header)
	if err != nil {
		return nil, nil, err
	}
	now := s.now()
	o, err := s.verifyOwn(ctx, call.Tenant, token, now)
	if errors.Is(err, keys.ErrUnknownToken) || errors.Is(err, errNotAccessToken) {
		return nil, nil, invalidToken(ReasonTokenUnknown, err)
	}
	if err != nil {
		return nil, nil, err
	}
	call.Client = o.client
	audience, _ := stringOrList(o.claims["aud"])
	switch {
	case !now.Before(o.exp):
		return nil, nil, invalidToken(ReasonTokenExpired, errors.New("the token has expired"))
	case o.sid != "" || o.claims["sub"] != o.client.ID:
		return nil, nil, invalidToken(ReasonTokenKind, errors.New("the token is that of a user; it must be one of the client credentials grant"))
	case !slices.Contains(audience, o.client.ID) && !slices.Contains(audience, o.client.tenant.Issuer):
		return nil, nil, invalidToken(ReasonTokenAudience, errors.New("aud names neither the client nor the issuer")).compare(o.client.ID+" or "+o.client.tenant.Issuer, strings.Join(audience, " "))
	case !o.client.enabled():
		return nil, nil, invalidToken(ReasonTokenUnknown, errors.New("client or tenant is disabled"))
	}
	active, err := s.isActive(ctx, o, now)
	if err != nil {
		return nil, nil, err
	}
	if !active {
		return nil, nil, invalidToken(ReasonTokenUnknown, errors.New("the token was revoked"))
	}
	scope, _ := o.claims["scope"].(string)
	return o.client, strings.Fields(scope), nil
}

// errNoStream is the refusal of a request about a stream that does not exist, or that
// is another client's. It is the same for both, so that ids cannot be guessed.
func errNoStream() *Error {
	return &Error{Code: "not_found", Reason: ReasonStreamNotFound, Status: http.StatusNotFound, Description: "The client has no event stream with this id"}
}

// streamOf returns the event destination of a client.
func (s *Server) streamOf(ctx context.Context, c *Client, id string) (*models.Destination, error) {
	if malformed(id) {
		return nil, errNoStream()
	}
	row, err := s.store.Destination(ctx, c.TenantID, id)
	if errors.Is(err, models.ErrNotFound) || err == nil && row.Settings.Client != c.ID {
		return nil, errNoStream().withCause(errors.New("no destination with this id, or another client's"))
	}
	return row, err
}

// readStrictly reads the JSON body of a request, of at most `most` bytes, into v, a pointer
// to a struct with yaml tags. It rejects unknown and repeated members.
func readStrictly(r *http.Request, most int64, v any) error {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header.Values("Content-Type")) > 1 || mediaType != "application/json" {
		return invalidRequest(ReasonRequestMalformed, "The body must be application/json, named by one Content-Type header")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		e := invalidRequest(ReasonRequestTooLarge, "The body is too large")
		e.Status = http.StatusRequestEntityTooLarge
		return e
	case err != nil:
		return invalidRequest(ReasonRequestMalformed, "The body could not be read").withCause(err)
	}
	if err := jws.CheckObject(body); err != nil {
		return invalidRequest(ReasonRequestMalformed, "The body must be one JSON object in UTF-8 without repeated members").withCause(err)
	}
	document, err := decode.JSON(body)
	if err != nil {
		return invalidRequest(ReasonRequestMalformed, "The body "+err.Error())
	}
	faults, err := document.Into("", v)
	switch {
	case err != nil:
		return invalidRequest(ReasonRequestMalformed, "The body "+err.Error())
	case len(faults) > 0:
		return invalidRequest(ReasonParameterInvalid, strings.TrimPrefix(faults[0].String(), "."))
	}
	return nil
}
