package models

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// RevokeToken records that an access token without a session was revoked, until
// its expiry and the tolerance of verifiers. Calling it twice has the same
// effect as calling it once.
func (s *Store) RevokeToken(ctx context.Context, tenant, client, jti string, audience []string, now, expiry time.Time) error {
	e := Event{
		At: now, TenantID: tenant, Type: EventTokenRevoked, ClientID: client, Until: expiry.Add(session.VerifierTolerance),
		Details: map[string]any{"jti": jti, "audience": audience},
	}
	return s.recorded(ctx, e, `INSERT INTO revoked_tokens (tenant_id, jti, client_id, revoked_at, expires_at)
		VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, tenant, jti, client, At(now), At(expiry))
}

// TokenRevoked reports whether an access token without a session was revoked.
func (s *Store) TokenRevoked(ctx context.Context, tenant, jti string) (bool, error) {
	var n int
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT count(*) FROM revoked_tokens WHERE tenant_id = ? AND jti = ?", tenant, jti).Row().Scan(&n)
	})
	return n > 0, err
}
