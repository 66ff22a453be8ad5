package models

import (
	"context"
	"database/sql"
	"strings"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// statusMemory is for how long after its end a session is shown as over: until
// nobody accepts an access token of it any more. That its row is kept for
// longer gives every copy of the list time to go before the entry is another
// session's.
const statusMemory = session.MaxAccessTTL + lastIssue + session.VerifierTolerance + session.Leeway

// StatusList is a status list at a moment.
type StatusList struct {
	Size int      // entries, a multiple of 8
	Over []uint32 // those whose sessions are over, in no order
}

// StatusList reads a list as it is now. ErrNotFound: there is none, or it has
// ended and nobody has an entry of it.
func (s *Store) StatusList(ctx context.Context, tenant string, list int64) (*StatusList, error) {
	found := new(StatusList)
	now, first := s.Now(), list*statusStride
	span := []any{tenant, first, first + statusStride}
	err := s.query(ctx, func(db *gorm.DB) error {
		err := db.Raw("SELECT size FROM status_lists WHERE tenant_id = ? AND list = ? AND (ended_at IS NULL OR EXISTS (SELECT 1 FROM sessions WHERE "+entriesOf+"))",
			append([]any{tenant, list}, span...)...).Row().Scan(&found.Size)
		if err != nil {
			return err
		}
		marked, err := refusedByMark(db, tenant)
		if err != nil {
			return err
		}
		found.Over = found.Over[:0]
		ended := statement{"ended_at > ?", []any{At(now.Add(-statusMemory))}}
		for _, over := range []statement{ended, marked} {
			if over.text == "" {
				continue
			}
			entries, err := collect(db.Raw("SELECT status_index FROM sessions WHERE "+entriesOf+" AND "+over.text, append(span, over.args...)...),
				func(rows *sql.Rows) (entry uint32, err error) {
					var index int64
					err = rows.Scan(&index)
					return uint32(index - first), err
				})
			if err != nil {
				return err
			}
			found.Over = append(found.Over, entries...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// entriesOf asks for the sessions that have an entry of a list.
const entriesOf = "tenant_id = ? AND status_index >= ? AND status_index < ?"

// statement is a part of one, with its arguments.
type statement struct {
	text string
	args []any
}

// refusedByMark asks for the sessions that are refused because their tenant,
// client or issuer is disabled, or was and Sweep has not ended them yet; also
// for one that was opened in the moment of the disabling, which Sweep leaves.
// While there is a mark, all the sessions of a list are looked at. Nothing:
// there is none.
func refusedByMark(db *gorm.DB, tenant string) (q statement, err error) {
	const marked = " AND (disabled OR suspended_at IS NOT NULL OR sessions_valid_from > COALESCE(swept_at, 0))"
	parts, err := collect(db.Raw("SELECT 'tenant_id', id, disabled OR suspended_at IS NOT NULL, sessions_valid_from FROM tenants WHERE id = ?"+marked+
		" UNION ALL SELECT 'client_id', id, disabled OR suspended_at IS NOT NULL, sessions_valid_from FROM clients WHERE tenant_id = ?"+marked+
		" UNION ALL SELECT 'issuer_id', id, disabled OR suspended_at IS NOT NULL, sessions_valid_from FROM trusted_issuers WHERE tenant_id = ?"+marked, tenant, tenant, tenant), func(rows *sql.Rows) (string, error) {
		var column, id string
		var disabled bool
		var before Time
		err := rows.Scan(&column, &id, &disabled, &before)
		part := column + " = ?"
		q.args = append(q.args, id)
		if !disabled {
			part += " AND created_at < ?"
			q.args = append(q.args, before)
		}
		return part, err
	})
	if parts != nil {
		q.text = "ended_at IS NULL AND (" + strings.Join(parts, " OR ") + ")"
	}
	return q, err
}
