package oauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// Revoke serves {iss}/revoke (RFC 7009): revoking any token of a session is
// signing out. fosite's own writer answers 200 to a dead database.
func (s *Server) Revoke(w http.ResponseWriter, r *http.Request, call *Call) {
	s.endpoint(w, r, call, func(ctx context.Context, r *http.Request) error {
		if err := s.provider.NewRevocationRequest(ctx, r); err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Pragma", "no-cache")
		w.WriteHeader(http.StatusOK)
		return nil
	})
}

// revocation implements fosite.RevocationHandler.
type revocation struct{ *Server }

// RevokeToken implements fosite.RevocationHandler. The kind of token is known
// from its text, so a hint, right or wrong, changes nothing (RFC 7009 §2.1).
// What is no live token of ours is revoked already (§2.2).
func (v *revocation) RevokeToken(ctx context.Context, token string, _ fosite.TokenType, by fosite.Client) error {
	client, now := by.(*Client), v.now()
	if token == "" {
		return invalidRequest(ReasonParameterMissing, "token is required")
	}
	revoke := v.revokeAccess
	if strings.HasPrefix(token, "lk_") {
		revoke = v.revokeHandle
	}
	err := revoke(ctx, client, token, now)
	if errors.Is(err, errNotOurs) || errors.Is(err, models.ErrNotFound) {
		return nil
	}
	return err
}

// foreignToken refuses to revoke another client's token (RFC 7009 §2.1).
func foreignToken() *Error {
	return refuse("invalid_grant", ReasonTokenOtherClient, "The token was issued to another client")
}

func (v *revocation) revokeAccess(ctx context.Context, c *Client, token string, now time.Time) error {
	o, err := v.verifyOwn(ctx, c.tenant, token, now)
	switch {
	case errors.Is(err, errOtherKind):
		return refuse("unsupported_token_type", ReasonTokenKind, "Tokens of this kind cannot be revoked")
	case err != nil:
		return err
	case o.client.ID != c.ID:
		return foreignToken()
	case !now.Before(o.exp):
		return nil
	case o.sid == "":
		aud, _ := stringOrList(o.claims["aud"])
		return v.store.RevokeToken(ctx, c.TenantID, c.ID, o.jti, aud, now, o.exp.Add(leeway))
	}
	id, err := models.ParseSessionID(o.sid)
	if err != nil {
		return err
	}
	return v.signOut(ctx, c, id, now, func(*models.Session) bool { return true })
}

// revokeHandle takes any generation of the chain: a used refresh token signs
// out as well. One with a forged secret does not.
func (v *revocation) revokeHandle(ctx context.Context, c *Client, token string, now time.Time) error {
	h, err := v.keys.parseHandle(c.TenantID, token)
	if err != nil {
		return err
	}
	return v.signOut(ctx, c, h.session, now, func(row *models.Session) bool { return v.keys.place(row, h) != forged })
}

func (v *revocation) signOut(ctx context.Context, c *Client, id models.SessionID, now time.Time, genuine func(*models.Session) bool) error {
	callFrom(ctx).SessionID = id.String()
	row, err := v.store.Session(ctx, c.TenantID, id)
	if err != nil {
		return err
	}
	if !genuine(row) {
		return nil
	}
	if row.ClientID != c.ID {
		return foreignToken()
	}
	if _, _, ended := row.Lifetime().Ended(now); ended {
		return nil
	}
	return v.store.EndSession(ctx, row, now, session.SignedOut)
}
