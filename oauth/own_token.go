package oauth

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/oauth/keys"
)

// ownTypes are the types of the tokens that this server signs.
var ownTypes = []string{jws.TypAccessToken, jws.TypJWT, typIntrospection, typStatusList, typClientToken, typSecurityEvent}

// ownToken is an access token of this server with a valid signature, issuer and
// type. It may have expired.
type ownToken struct {
	claims map[string]any
	client *Client // the client that it was issued to
	sid    string  // empty: it has no session
	jti    string
	exp    time.Time
}

// errNotAccessToken means that a token is from this server, but not an access
// token.
var errNotAccessToken = errors.New("a token that this server issued, but not an access token")

// verifyOwn checks that a text is an access token of the tenant (RFC 9068 §4).
// errNotAccessToken and keys.ErrUnknownToken are results of the check; other errors
// are faults of this server.
func (s *Server) verifyOwn(ctx context.Context, t *Tenant, text string, now time.Time) (*ownToken, error) {
	typ, payload, err := t.ring.Verify(now, text)
	if errors.Is(err, keys.ErrUnknownKid) {
		if t, err = s.registry.refreshNow(ctx, t); err != nil {
			return nil, err
		}
		typ, payload, err = t.ring.Verify(now, text)
	}
	if errors.Is(err, keys.ErrUnopenedKey) {
		return nil, err
	}
	if err != nil {
		return nil, keys.ErrUnknownToken
	}
	claims, err := models.ParseObject(payload)
	if err != nil || claims["iss"] != t.Issuer {
		return nil, keys.ErrUnknownToken
	}
	id, _ := claims["client_id"].(string)
	o := &ownToken{claims: claims, client: t.client(id)}
	switch {
	case o.client == nil && typ != jws.TypAccessToken:
		return nil, errNotAccessToken
	case o.client == nil:
		return nil, keys.ErrUnknownToken // its client has been removed
	case typ != jws.TypAccessToken && (typ != "jwt" || o.client.Settings.AccessTokenTyp != jws.TypJWT):
		return nil, errNotAccessToken
	}
	o.sid, _ = claims["sid"].(string)
	o.jti, _ = claims["jti"].(string)
	exp, ok := claims["exp"].(int64)
	if !ok || o.jti == "" {
		return nil, keys.ErrUnknownToken
	}
	o.exp = time.Unix(exp, 0)
	return o, nil
}

// alive reports whether the session may still be used: it has not ended, and
// everything that it depends on is enabled as far as this node knows.
func (c *Client) alive(row *models.Session, now time.Time) bool {
	_, _, ended := row.Lifetime().Ended(now)
	entry := c.tenant.issuerEntry(row.IssuerID)
	return !ended && row.ClientID == c.ID && c.enabled() && !row.CreatedAt.Before(c.validFrom()) &&
		entry != nil && entry.Enabled() && !row.CreatedAt.Before(entry.SessionsValidFrom.Time)
}
