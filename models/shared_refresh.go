package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// NoteSharedRefresh records, once for each generation, that the session's
// current generation was retried from another address or user agent. It writes
// EventRefreshShared if the two generations before were too.
func (s *Store) NoteSharedRefresh(ctx context.Context, about *Session, now time.Time, details map[string]any) error {
	g := int64(about.Refresh.Generation)
	var events map[int64]bool
	err := s.query(ctx, func(db *gorm.DB) (err error) { events, err = retriedElsewhere(db, about.ID); return err })
	if err != nil || events[g] {
		return err
	}
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if err := s.lockSession(tx, about.ID); err != nil {
			return err
		}
		if events, err = retriedElsewhere(tx, about.ID); err != nil || events[g] {
			return err // another retry was first
		}
		if err := insertEvent(tx, about.Event(now, EventRefreshElsewhere, details)); err != nil {
			return err
		}
		if !events[g-1] || !events[g-2] {
			return nil
		}
		return insertEvent(tx, about.Event(now, EventRefreshShared, details))
	})
}

// retriedElsewhere returns which of the last generations were retried from
// elsewhere. Differences between the clocks of nodes may reorder a few of them.
func retriedElsewhere(db *gorm.DB, id SessionID) (map[int64]bool, error) {
	var last []string
	err := db.Raw("SELECT details FROM events WHERE session_id = ? AND type = ? ORDER BY id DESC LIMIT 16", id, EventRefreshElsewhere).Scan(&last).Error
	if err != nil {
		return nil, err
	}
	seen := map[int64]bool{}
	for _, text := range last {
		details, err := ParseObject([]byte(text))
		if err != nil {
			return nil, err
		}
		if generation, ok := details["generation"].(int64); ok {
			seen[generation] = true
		}
	}
	return seen, nil
}
