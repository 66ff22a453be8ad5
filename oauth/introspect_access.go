package oauth

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/models"
)

// isActive reports whether neither the token nor its session was revoked: from
// memory if that is fresh enough, or else from the database. What the database
// says of the session may also take back some of the token's assurance; while
// memory suffices, no trusted issuer was switched off since the token's issue.
func (s *Server) isActive(ctx context.Context, o *ownToken, now time.Time) (bool, error) {
	about, err := o.issued()
	if err != nil {
		return false, err
	}
	if about.SessionID == nil && about.At.Before(o.client.validFrom().Truncate(time.Second)) {
		return false, nil
	}
	// Which sessions are of a trusted issuer that does not compile, the rows know.
	if len(o.client.tenant.unusable) == 0 {
		switch s.tail.Verdict(about, s.introspectionMaxAge) {
		case models.NotRevoked:
			return true, nil
		case models.Revoked:
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

// issued is the token as far as a revocation may be about it.
func (o *ownToken) issued() (models.Issued, error) {
	about := models.Issued{TenantID: o.client.TenantID, ClientID: o.client.ID, TokenID: o.jti}
	about.Subject, _ = o.claims["sub"].(string)
	iat, _, err := numericDate(o.claims["iat"])
	if err != nil {
		return about, errUnknownToken
	}
	about.At = iat
	if o.sid == "" {
		return about, nil
	}
	id, err := models.ParseSessionID(o.sid)
	about.SessionID = &id
	return about, err
}
