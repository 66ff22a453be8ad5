package models

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"gorm.io/gorm"
)

// AddEvent writes an event. With names of details in once, it does so only
// once, so that repeating a request cannot fill the log: two events are the
// same if they have the same session, the same type and the same values of
// these details. This is exact across nodes.
func (s *Store) AddEvent(ctx context.Context, e Event, once ...string) error {
	if len(once) == 0 {
		return s.exec(ctx, func(db *gorm.DB) error { return insertEvent(db, e) })
	}
	same, err := e.matching(once)
	if err != nil {
		return err
	}
	var known bool
	err = s.query(ctx, func(db *gorm.DB) (err error) { known, err = same.findsRow(db); return err })
	if err != nil || known {
		return err
	}
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if err := s.lockSession(tx, *e.SessionID); err != nil {
			return err
		}
		if known, err := same.findsRow(tx); err != nil || known {
			return err // another request was first
		}
		return insertEvent(tx, e)
	})
}

// matching returns a query for an event that equals e in these details.
func (e Event) matching(names []string) (*statement, error) {
	if e.SessionID == nil {
		return nil, fmt.Errorf("event %s has no session", e.Type)
	}
	q := &statement{"SELECT 1 FROM events WHERE session_id = ? AND type = ?", []any{*e.SessionID, string(e.Type)}}
	for _, name := range names {
		member, err := json.Marshal(map[string]any{name: e.Details[name]})
		if err != nil {
			return nil, err
		}
		// Inside a JSON string, the quotes of a name would be escaped.
		like := "%" + escapeLike(strings.TrimSuffix(strings.TrimPrefix(string(member), "{"), "}"))
		q.text += " AND (details LIKE ? ESCAPE '!' OR details LIKE ? ESCAPE '!')"
		q.args = append(q.args, like+",%", like+"}")
	}
	return q, nil
}

// findsRow reports whether the query finds a row.
func (q *statement) findsRow(db *gorm.DB) (bool, error) {
	var n int
	err := db.Raw("SELECT count(*) FROM ("+q.text+" LIMIT 1) found", q.args...).Row().Scan(&n)
	return n > 0, err
}

// escapeLike escapes text for a LIKE with ESCAPE '!'.
func escapeLike(text string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text)
}

// lockSession locks a session's row, so that the second of two requests that
// would write the same event sees the event of the first. It is no error if the
// row does not exist.
func (s *Store) lockSession(tx *gorm.DB, id SessionID) error {
	var generation int64
	return tx.Raw("SELECT generation FROM sessions WHERE id = ?"+s.dialect.forUpdate, id).Scan(&generation).Error
}
