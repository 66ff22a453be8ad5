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
	err = s.exec(ctx, func(db *gorm.DB) error {
		touched, err = readSession(db.Raw(`UPDATE sessions SET last_active_at = @Now, idle_expires_at = @Idle, user_agent = @UserAgent, ip = @IP, step_up_tokens = NULL
			WHERE id = @ID AND tenant_id = @Tenant AND client_id = @Client AND session_token_digest = @Digest
				AND ended_at IS NULL AND absolute_expires_at > @Now AND (idle_expires_at IS NULL OR idle_expires_at > @Now)
				AND created_at >= @From`+permitted+`
			RETURNING `+sessionColumns, struct {
			Touch
			Now, Idle Time
			From      int64
		}{t, At(t.At), At(t.IdleExpiry), unixMicroOrZero(t.ValidFrom)}))
		return err
	})
	return touched, err
}
