package oauth

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/models/tail"
	"github.com/latchkey/latchkey/oauth/keys"
)

// isActive reports whether neither the token nor its session has been revoked.
// It uses memory if that is fresh enough, and the database otherwise. The
// session in the database may also withdraw assurance from the token. If memory
// suffices, this cannot be the case: no trusted issuer has been disabled since
// the token was issued.
func (s *Server) isActive(ctx context.Context, o *ownToken, now time.Time) (bool, error) {
	about, err := o.issued()
	if err != nil {
		return false, err
	}
	if about.SessionID == nil && about.At.Before(o.client.validFrom().Truncate(time.Second)) {
		return false, nil
	}
	// If the configuration of a trusted issuer does not compile, only the rows
	// show which sessions it affects.
	if len(o.client.tenant.unusable) == 0 {
		switch s.tail.Verdict(about, s.introspectionMaxAge) {
		case tail.NotRevoked:
			return true, nil
		case tail.Revoked:
			return false, nil
		}
	}
	if about.SessionID == nil {
		revoked, err := s.store.TokenRevoked(ctx, about.TenantID, about.TokenID)
		return !revoked, err
	}
	row, err := s.store.Session(ctx, about.TenantID, *about.SessionID)
	if err != nil || !o.client.alive(row, now) {
		return false, err
	}
	o.withdrawLapsed(row)
	return true, nil
}

// issued returns those properties of the token that revocations refer to.
func (o *ownToken) issued() (models.Issued, error) {
	about := models.Issued{TenantID: o.client.TenantID, ClientID: o.client.ID, TokenID: o.jti}
	about.Subject, _ = o.claims["sub"].(string)
	iat, _, err := numericDate(o.claims["iat"])
	if err != nil {
		return about, keys.ErrUnknownToken
	}
	about.At = iat
	if o.sid == "" {
		return about, nil
	}
	id, err := models.ParseSessionID(o.sid)
	about.SessionID = &id
	return about, err
}
