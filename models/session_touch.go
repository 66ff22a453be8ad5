package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// Touch is a use of a session by its session token, which does not rotate.
type Touch struct {
	Tenant, Client string
	ID             SessionID
	Digest         []byte // of the session token, as stored
	At             time.Time
	IdleExpiry     time.Time
	ValidFrom      time.Time // sessions created before are rejected
	UserAgent, IP  string
}

// TouchSession moves the session's idle expiry and returns the session
// afterwards, in one statement. It returns ErrNotFound if the session is over
// or no longer permitted, or if its session token is a different one.
func (s *Store) TouchSession(ctx context.Context, t Touch) (touched *Session, err error) {
	now := At(t.At)
	err = s.exec(ctx, func(db *gorm.DB) error {
		touched, err = scanSession(db.Raw(`UPDATE sessions SET last_active_at = ?, idle_expires_at = ?, user_agent = ?, ip = ?, step_up_tokens = NULL
			WHERE id = ? AND tenant_id = ? AND client_id = ? AND session_token_digest = ?
				AND ended_at IS NULL AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?)
				AND created_at >= ?`+permitted+`
			RETURNING `+sessionColumns,
			now, At(t.IdleExpiry), t.UserAgent, t.IP,
			t.ID, t.Tenant, t.Client, t.Digest, now, now, unixMicroOrZero(t.ValidFrom)).Row())
		return err
	})
	return touched, err
}
