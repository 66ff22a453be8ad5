package oauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/session"
)

// Revoke serves {iss}/revoke (RFC 7009). Revoking any token of a session signs
// its user out of it.
func (s *Server) Revoke(w http.ResponseWriter, r *http.Request, call *Call) {
	s.endpoint(w, r, call, func(ctx context.Context) error {
		client, err := s.authenticateClient(ctx, call, r, r.PostForm)
		if err != nil {
			return err
		}
		if err := s.revoke(ctx, call, client, r.PostForm.Get("token"), s.now()); err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Pragma", "no-cache")
		w.WriteHeader(http.StatusOK)
		return nil
	})
}

// revoke revokes a token. The text of a token shows its kind, so a hint, right
// or wrong, makes no difference (RFC 7009 §2.1). Revoking an unknown, expired
// or revoked token succeeds (RFC 7009 §2.2).
func (s *Server) revoke(ctx context.Context, call *Call, c *Client, token string, now time.Time) error {
	if token == "" {
		return invalidRequest(ReasonParameterMissing, "token is required")
	}
	revoke := s.revokeAccess
	if strings.HasPrefix(token, "lk_") {
		revoke = s.revokeHandle
	}
	err := revoke(ctx, call, c, token, now)
	if errors.Is(err, keys.ErrUnknownToken) || errors.Is(err, models.ErrNotFound) {
		return nil
	}
	return err
}

// foreignToken returns the refusal to revoke a token of another client (RFC
// 7009 §2.1).
func foreignToken() *Error {
	return refuse("invalid_grant", ReasonTokenOtherClient, "The token was issued to another client")
}

// revokeAccess revokes an access token, or ends its session if it has one.
func (s *Server) revokeAccess(ctx context.Context, call *Call, c *Client, token string, now time.Time) error {
	o, err := s.verifyOwn(ctx, c.tenant, token, now)
	switch {
	case errors.Is(err, errNotAccessToken):
		return refuse("unsupported_token_type", ReasonTokenKind, "This token cannot be revoked; send an access, refresh or session token")
	case err != nil:
		return err
	case o.client.ID != c.ID:
		return foreignToken()
	case !now.Before(o.exp):
		return nil
	case o.sid == "":
		aud, _ := stringOrList(o.claims["aud"])
		return s.store.RevokeToken(ctx, c.TenantID, c.ID, o.jti, aud, now, o.exp.Add(leeway))
	}
	id, err := models.ParseSessionID(o.sid)
	if err != nil {
		return err
	}
	return s.signOut(ctx, call, c, id, now, func(*models.Session) bool { return true })
}

// revokeHandle ends the session of a handle of any generation: a used refresh
// token signs out as well. A handle with a forged secret does not.
func (s *Server) revokeHandle(ctx context.Context, call *Call, c *Client, token string, now time.Time) error {
	h, err := s.keys.ParseHandle(c.TenantID, token)
	if err != nil {
		return err
	}
	return s.signOut(ctx, call, c, h.Session, now, func(row *models.Session) bool { return s.keys.Classify(row, h) != keys.Forged })
}

// signOut ends a session if it belongs to the client and genuine returns true
// for its row.
func (s *Server) signOut(ctx context.Context, call *Call, c *Client, id models.SessionID, now time.Time, genuine func(*models.Session) bool) error {
	call.SessionID = id.String()
	row, err := s.store.Session(ctx, c.TenantID, id)
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
	return s.store.EndSession(ctx, row, now, session.SignedOut)
}
