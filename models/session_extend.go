package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// ExtendSession moves the absolute expiry of a session that is usable, records
// an event if that changes the expiry, and returns the session afterwards. It
// returns ErrNotFound if the session is not usable.
func (s *Store) ExtendSession(ctx context.Context, about *Session, now, end time.Time, by string) (extended *Session, err error) {
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		var before Time
		err := tx.Raw("SELECT absolute_expires_at FROM sessions WHERE id = ?"+s.dialect.forUpdate, about.ID).Row().Scan(&before)
		if err != nil {
			return err
		}
		extended, err = readSession(tx.Raw("UPDATE sessions SET absolute_expires_at = ?, prune_at = CASE WHEN prune_at > ? THEN ? ELSE prune_at END"+
			liveSession+" AND id = ?"+permitted+notDisabled+" RETURNING "+sessionColumns,
			At(end), At(end), At(end), about.TenantID, about.Subject, At(now), At(now), about.ID))
		if err != nil || before.Equal(extended.AbsoluteExpiry) {
			return err
		}
		return insertEvent(tx, extended.Event(now, EventSessionExtended, map[string]any{"expires_at": end.Unix(), "by": by}))
	})
	if err != nil {
		return nil, err
	}
	return extended, nil
}
