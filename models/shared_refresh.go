package models

import (
	"context"
	"database/sql"
	"time"

	"gorm.io/gorm"
)

// NoteSharedRefresh remembers that the session's current generation was
// retried from another address or agent, once for each generation, and raises
// EventRefreshShared when the two generations before it were too.
func (s *Store) NoteSharedRefresh(ctx context.Context, about *Session, now time.Time, details map[string]any) error {
	events, err := s.elsewhere(ctx, about)
	if err != nil || events[int64(about.Refresh.Generation)] {
		return err
	}
	g := int64(about.Refresh.Generation)
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if err := insertEvent(tx, about.Event(now, EventRefreshElsewhere, details)); err != nil {
			return err
		}
		if !events[g-1] || !events[g-2] {
			return nil
		}
		return insertEvent(tx, about.Event(now, EventRefreshShared, details))
	})
}

// elsewhere tells which of the last generations were retried from elsewhere.
func (s *Store) elsewhere(ctx context.Context, about *Session) (map[int64]bool, error) {
	seen := map[int64]bool{}
	err := s.query(ctx, func(db *gorm.DB) error {
		_, err := collect(db.Raw("SELECT details FROM events WHERE session_id = ? AND type = ? ORDER BY id DESC LIMIT 3",
			about.ID, EventRefreshElsewhere), func(rows *sql.Rows) (text string, err error) {
			if err = rows.Scan(&text); err != nil {
				return text, err
			}
			details, err := ParseObject([]byte(text))
			if generation, ok := details["generation"].(int64); ok {
				seen[generation] = true
			}
			return text, err
		})
		return err
	})
	return seen, err
}
