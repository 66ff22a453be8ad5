package models

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"gorm.io/gorm"
)

// AddEvent writes an event. With names of details it writes it once: whoever
// repeats a request must not fill the log. Two events are the same if they are
// about one session, of one type, and the named details are equal. It is exact
// across nodes.
func (s *Store) AddEvent(ctx context.Context, e Event, once ...string) error {
	if len(once) == 0 {
		return s.exec(ctx, func(db *gorm.DB) error { return insertEvent(db, e) })
	}
	same, err := e.same(once)
	if err != nil {
		return err
	}
	var known bool
	err = s.query(ctx, func(db *gorm.DB) (err error) { known, err = same.holds(db); return err })
	if err != nil || known {
		return err
	}
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if err := s.lockSession(tx, *e.SessionID); err != nil {
			return err
		}
		if known, err := same.holds(tx); err != nil || known {
			return err // another request was first
		}
		return insertEvent(tx, e)
	})
}

// same asks for an event that tells what e does.
func (e Event) same(names []string) (*statement, error) {
	if e.SessionID == nil {
		return nil, fmt.Errorf("event %s is about no session", e.Type)
	}
	q := &statement{"SELECT 1 FROM events WHERE session_id = ? AND type = ?", []any{*e.SessionID, string(e.Type)}}
	for _, name := range names {
		member, err := json.Marshal(map[string]any{name: e.Details[name]})
		if err != nil {
			return nil, err
		}
		// The quotes of a name cannot occur inside of a string.
		like := "%" + literal(strings.TrimSuffix(strings.TrimPrefix(string(member), "{"), "}"))
		q.text += " AND (details LIKE ? ESCAPE '!' OR details LIKE ? ESCAPE '!')"
		q.args = append(q.args, like+",%", like+"}")
	}
	return q, nil
}

// holds says whether the statement finds a row.
func (q *statement) holds(db *gorm.DB) (bool, error) {
	var n int
	err := db.Raw("SELECT count(*) FROM ("+q.text+" LIMIT 1) found", q.args...).Row().Scan(&n)
	return n > 0, err
}

// literal is text for a LIKE with ESCAPE '!'.
func literal(text string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text)
}

// lockSession takes a session's row, so that of two who would write the same
// event the second one sees the first one's. A row that is gone is no matter.
func (s *Store) lockSession(tx *gorm.DB, id SessionID) error {
	var generation int64
	return tx.Raw("SELECT generation FROM sessions WHERE id = ?"+s.dialect.forUpdate, id).Scan(&generation).Error
}
