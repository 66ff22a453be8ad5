package oauth

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
)

// ownToken is an access token of ours whose signature, issuer and type are
// good. It may have expired.
type ownToken struct {
	claims map[string]any
	client *Client // that it was issued to
	sid    string  // empty: no session
	jti    string
	exp    time.Time
}

// errOtherKind is a token of ours that is no access token.
var errNotAccessToken = errors.New("a token that this server issued, but not an access token")

// verifyOwn checks that a text is an access token of the tenant (RFC 9068 §4).
// errOtherKind and errNotOurs are statements about the text; other errors are
// faults of ours.
func (s *Server) verifyOwn(ctx context.Context, t *Tenant, text string, now time.Time) (*ownToken, error) {
	typ, payload, err := t.ring.verify(now, text)
	if errors.Is(err, errUnknownKid) {
		if t, err = s.registry.refreshNow(ctx, t); err != nil {
			return nil, err
		}
		typ, payload, err = t.ring.verify(now, text)
	}
	if errors.Is(err, errUnopenedKey) {
		return nil, err
	}
	if err != nil {
		return nil, errUnknownToken
	}
	claims, err := models.ParseObject(payload)
	if err != nil || claims["iss"] != t.Issuer {
		return nil, errUnknownToken
	}
	id, _ := claims["client_id"].(string)
	o := &ownToken{claims: claims, client: t.client(id)}
	switch {
	case o.client == nil && typ != jws.TypAccessToken:
		return nil, errNotAccessToken
	case o.client == nil:
		return nil, errUnknownToken // its client has been removed
	case typ != jws.TypAccessToken && (typ != "jwt" || o.client.Settings.AccessTokenTyp != jws.TypJWT):
		return nil, errNotAccessToken
	}
	o.sid, _ = claims["sid"].(string)
	o.jti, _ = claims["jti"].(string)
	exp, ok := claims["exp"].(int64)
	if !ok || o.jti == "" {
		return nil, errUnknownToken
	}
	o.exp = time.Unix(exp, 0)
	return o, nil
}

// alive says whether the session may still be used: not over, and everybody
// involved enabled as far as this node knows.
func (c *Client) alive(row *models.Session, now time.Time) bool {
	_, _, ended := row.Lifetime().Ended(now)
	entry := c.tenant.issuerEntry(row.IssuerID)
	return !ended && row.ClientID == c.ID && c.enabled() && !row.CreatedAt.Before(c.validFrom()) &&
		entry != nil && entry.Enabled() && !row.CreatedAt.Before(entry.SessionsValidFrom.Time)
}
