package oauth

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
)

// authenticateBearer returns the caller whose access token or session token the
// request contains. The token must be in the Authorization header (RFC 6750
// §2.1), and its session must be live.
func (s *Server) authenticateBearer(ctx context.Context, call *Call, r *http.Request, now time.Time) (*caller, error) {
	token, err := readBearer(r.Header)
	if err != nil {
		return nil, err
	}
	find := s.bearerOfAccess
	if strings.HasPrefix(token, "lk_") {
		find = s.bearerOfHandle
	}
	who, err := find(ctx, call, token, now)
	if errors.Is(err, keys.ErrUnknownToken) || errors.Is(err, errNotAccessToken) || errors.Is(err, models.ErrNotFound) {
		return nil, invalidToken(ReasonTokenUnknown, err)
	}
	if err != nil {
		return nil, err
	}
	call.SessionID = who.own.ID.String()
	return who, nil
}

// bearerOfAccess accepts an access token whose audience is the client itself or
// the issuer. A resource server that received an access token must not be able
// to act for its user here.
func (s *Server) bearerOfAccess(ctx context.Context, call *Call, token string, now time.Time) (*caller, error) {
	o, err := s.verifyOwn(ctx, call.Tenant, token, now)
	if err != nil {
		return nil, err
	}
	call.Client = o.client
	if err := o.client.acceptsOrigin(call); err != nil {
		return nil, err
	}
	audience, _ := stringOrList(o.claims["aud"])
	switch {
	case !now.Before(o.exp):
		return nil, invalidToken(ReasonTokenExpired, errors.New("the token has expired"))
	case !slices.Contains(audience, o.client.ID) && !slices.Contains(audience, o.client.tenant.Issuer):
		return nil, invalidToken(ReasonTokenAudience, errors.New("aud names neither the client nor the issuer")).compare(o.client.ID+" or "+o.client.tenant.Issuer, strings.Join(audience, " "))
	}
	id, err := models.ParseSessionID(o.sid)
	if err != nil {
		return nil, err
	}
	row, err := s.store.Session(ctx, call.Tenant.ID, id)
	if err != nil {
		return nil, err
	}
	return o.client.callerFor(row, now)
}

// bearerOfHandle accepts the current session token of a session.
func (s *Server) bearerOfHandle(ctx context.Context, call *Call, token string, now time.Time) (*caller, error) {
	h, err := s.keys.ParseHandle(call.Tenant.ID, token)
	if err != nil {
		return nil, err
	}
	if h.Kind != keys.SessionToken {
		return nil, errNotAccessToken
	}
	row, err := s.store.Session(ctx, call.Tenant.ID, h.Session)
	if err != nil {
		return nil, err
	}
	client := call.Tenant.client(row.ClientID)
	if client == nil {
		return nil, keys.ErrUnknownToken
	}
	if s.keys.Classify(row, h) != keys.Current {
		reason, why := s.sessionTokenReason(client, row, h, now)
		return nil, invalidToken(reason, errors.New("the session token was replaced, or its secret does not match its generation")).withEndReason(why)
	}
	call.Client = client
	if err := client.acceptsOrigin(call); err != nil {
		return nil, err
	}
	who, err := client.callerFor(row, now)
	if err == nil {
		s.renewSessionToken(ctx, row, h)
	}
	return who, err
}

// callerFor returns the caller whose token belongs to a session of the client.
func (c *Client) callerFor(row *models.Session, now time.Time) (*caller, error) {
	if row.ClientID != c.ID {
		return nil, keys.ErrUnknownToken
	}
	if !c.alive(row, now) {
		return nil, invalidToken(ReasonSessionEnded, errors.New("the session has ended")).withEndReason(c.endReason(row, now))
	}
	return &caller{tenant: c.tenant, client: c, own: row}, nil
}

var bearerScheme = regexp.MustCompile(`^(?i:bearer) +([A-Za-z0-9._~+/-]+=*)$`) // RFC 6750 §2.1

// readBearer returns the bearer token in the headers of a request.
func readBearer(headers http.Header) (string, error) {
	if len(headers.Values("Authorization")) > 1 {
		return "", malformedBearer("The request has more than one Authorization header; send one")
	}
	header := headers.Get("Authorization")
	if scheme, _, _ := strings.Cut(header, " "); !strings.EqualFold(scheme, "Bearer") {
		// A request without credentials gets a challenge without an error code
		// (RFC 6750 §3.1).
		return "", &Error{Status: http.StatusUnauthorized, Reason: ReasonTokenMissing, Bearer: true, Cause: errors.New("no bearer token")}
	}
	match := bearerScheme.FindStringSubmatch(header)
	if match == nil {
		return "", malformedBearer("The bearer token in the Authorization header is malformed")
	}
	return match[1], nil
}

// malformedBearer returns the refusal of a malformed Authorization header.
func malformedBearer(description string) *Error {
	e := invalidRequest(ReasonTokenMalformed, description)
	e.Bearer = true
	return e
}

// invalidToken returns the refusal of a bearer token. Its description is the
// same for every reason (R-RS-03).
func invalidToken(reason Reason, cause error) *Error {
	return &Error{Code: "invalid_token", Reason: reason, Status: http.StatusUnauthorized, Bearer: true, Cause: cause,
		Description: "The token is unknown, expired, revoked or not intended for this server"}
}
