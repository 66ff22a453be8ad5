package models

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// RetryLate records a late retry of the session's current generation if the row
// is still as it was read, and reports whether it was. The first late retry of
// a generation is recorded in the event log. No expiry moves: a late retry does
// not prove possession of the current token.
func (s *Store) RetryLate(ctx context.Context, about *Session, next session.LateRetry, now time.Time, details map[string]any) (remembered bool, err error) {
	last := about.History.LateRetry
	const change = `UPDATE sessions SET late_retry_generation = ?, late_retried_at = ?, late_retry_repeats = ?
		WHERE id = ? AND generation = ? AND refresh_digest = ?
			AND COALESCE(late_retry_generation, 0) = ? AND COALESCE(late_retry_repeats, 0) = ?
			AND ended_at IS NULL AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?)` + permitted
	args := []any{
		next.Generation, At(next.At), next.Repeats,
		about.ID, about.Refresh.Generation, about.Refresh.Digest,
		last.Generation, last.Repeats, At(now), At(now),
	}
	if next.Generation == last.Generation {
		err = s.exec(ctx, func(db *gorm.DB) error {
			done := db.Exec(change, args...)
			remembered = done.RowsAffected > 0
			return done.Error
		})
		return remembered, err
	}
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		remembered, err = s.recordIf(tx, about.Event(now, EventRefreshRetriedLate, details), change, args...)
		return err
	})
	return remembered, err
}
