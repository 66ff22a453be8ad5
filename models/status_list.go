package models

import (
	"context"
	"database/sql"
	"strings"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// statusMemory is how long an ended session is listed as over: until nobody
// accepts an access token of it. Its row is kept for longer, so that every copy
// of the list has expired before another session gets the entry.
const statusMemory = session.MaxAccessTTL + lastIssue + session.VerifierTolerance + session.Leeway

// StatusList is a status list at a moment.
type StatusList struct {
	Size int      // entries, a multiple of 8
	Over []uint32 // entries whose sessions are over, in no order
}

// StatusList reads the current state of a list. It returns ErrNotFound if there
// is none, or if it has ended and no session has an entry of it.
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
		marked, err := refusedByCutoff(db, tenant)
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

// entriesOf is the condition for the sessions that have an entry of a list.
const entriesOf = "tenant_id = ? AND status_index >= ? AND status_index < ?"

// statement is a part of an SQL statement with its arguments.
type statement struct {
	text string
	args []any
}

// refusedByCutoff returns the condition for the sessions that are rejected
// because their tenant, client or issuer is disabled, or was disabled and Sweep
// has not ended them yet. That includes a session that was created at the
// moment of the disabling, which Sweep leaves. While there is a cutoff, all the
// sessions of a list are read. The condition is empty if there is none.
func refusedByCutoff(db *gorm.DB, tenant string) (q statement, err error) {
	const marked = " AND (disabled OR suspended_at IS NOT NULL OR sessions_valid_from > COALESCE(swept_at, 0))"
	var rows []struct {
		Part, ID          string
		Disabled          bool
		SessionsValidFrom Time
	}
	err = db.Raw("SELECT 'tenant_id' AS part, id, disabled OR suspended_at IS NOT NULL AS disabled, sessions_valid_from FROM tenants WHERE id = @Tenant"+marked+
		" UNION ALL SELECT 'client_id', id, disabled OR suspended_at IS NOT NULL, sessions_valid_from FROM clients WHERE tenant_id = @Tenant"+marked+
		" UNION ALL SELECT 'issuer_id', id, disabled OR suspended_at IS NOT NULL, sessions_valid_from FROM trusted_issuers WHERE tenant_id = @Tenant"+marked,
		sql.Named("Tenant", tenant)).Scan(&rows).Error
	if err != nil || len(rows) == 0 {
		return q, err
	}
	parts := make([]string, len(rows))
	for i, row := range rows {
		parts[i] = row.Part + " = ?"
		q.args = append(q.args, row.ID)
		if !row.Disabled {
			parts[i] += " AND created_at < ?"
			q.args = append(q.args, row.SessionsValidFrom)
		}
	}
	q.text = "ended_at IS NULL AND (" + strings.Join(parts, " OR ") + ")"
	return q, nil
}
