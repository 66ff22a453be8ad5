package models

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// mark is a tenant, client or issuer that was switched off or removed: the sessions
// created before are refused because of the mark, whatever their rows say.
type mark struct {
	tenant, id string
	validFrom  Time
	before     Time // the sessions created before are its own
}

// removedPause is how long after a removal its sessions are swept: an exchange
// that ran beside it has committed by then.
const removedPause = 5 * time.Minute

// sweeps says where marks are and which sessions they are about.
var sweeps = []struct {
	table, condition string
	why              session.EndReason
}{
	{"tenants", "", session.TenantDisabled},
	{"clients", " AND client_id = ?", session.ClientDisabled},
	{"trusted_issuers", " AND issuer_id = ?", session.IssuerDisabled},
}

// Sweep ends the rows of sessions that a mark refuses already, so that they
// are seen to be over and are pruned. It goes through the table once for each
// mark, in small batches by primary key.
func (s *Store) Sweep(ctx context.Context) error {
	for _, sweep := range sweeps {
		marks, err := s.marks(ctx, sweep.table)
		if err != nil {
			return err
		}
		for _, m := range marks {
			if err := s.sweepMark(ctx, m, sweep.condition, sweep.why); err != nil {
				return fmt.Errorf("sweep %s of %s: %w", m.id, m.tenant, err)
			}
			if err := s.swept(ctx, sweep.table, m); err != nil {
				return err
			}
		}
	}
	return s.clearRemoved(ctx)
}

// clearRemoved deletes what is left of removed nouns whose sessions have all
// been ended, and the users of removed tenants.
func (s *Store) clearRemoved(ctx context.Context) error {
	for _, table := range []string{"clients", "trusted_issuers"} {
		err := s.exec(ctx, func(db *gorm.DB) error {
			return db.Exec("DELETE FROM " + table + " WHERE removed_at IS NOT NULL AND swept_at >= sessions_valid_from").Error
		})
		if err != nil {
			return err
		}
	}
	for more := true; more; {
		err := s.exec(ctx, func(db *gorm.DB) error {
			done := db.Exec(`DELETE FROM users WHERE (tenant_id, sub) IN (SELECT u.tenant_id, u.sub FROM users u JOIN tenants t ON t.id = u.tenant_id
				WHERE t.pruned_at IS NOT NULL AND t.swept_at >= t.sessions_valid_from LIMIT ?)`, pruneBatch)
			more = done.RowsAffected == pruneBatch
			return done.Error
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// marks lists those that have not been worked off.
func (s *Store) marks(ctx context.Context, table string) (marks []mark, err error) {
	tenant, removed := "tenant_id", "removed_at"
	if table == "tenants" {
		tenant, removed = "id", "pruned_at"
	}
	now := s.Now()
	err = s.query(ctx, func(db *gorm.DB) (err error) {
		marks, err = collect(db.Raw("SELECT "+tenant+", id, sessions_valid_from, CASE WHEN "+removed+" IS NULL THEN sessions_valid_from ELSE ? END FROM "+table+
			" WHERE sessions_valid_from > COALESCE(swept_at, 0) AND ("+removed+" IS NULL OR "+removed+" <= ?)", At(now), At(now.Add(-removedPause))), func(rows *sql.Rows) (m mark, err error) {
			err = rows.Scan(&m.tenant, &m.id, &m.validFrom, &m.before)
			return m, err
		})
		return err
	})
	return marks, err
}

// sweepMark ends what the mark is about, one batch after the other. The event
// of the mark stands for all of them.
func (s *Store) sweepMark(ctx context.Context, m mark, condition string, why session.EndReason) error {
	about := []any{m.tenant}
	if condition != "" {
		about = append(about, m.id)
	}
	for last := []byte{}; last != nil; {
		var ids [][]byte
		err := s.query(ctx, func(db *gorm.DB) error {
			return db.Raw("SELECT id FROM sessions WHERE tenant_id = ?"+condition+" AND created_at < ? AND ended_at IS NULL AND id > ? ORDER BY id LIMIT ?",
				append(about, m.before, last, pruneBatch)...).Scan(&ids).Error
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		at := m.validFrom
		err = s.transaction(ctx, func(tx *gorm.DB) error {
			done := tx.Exec("UPDATE sessions SET ended_at = ?, end_reason = ?, prune_at = ? WHERE ended_at IS NULL AND id IN ?",
				at, why, At(at.Add(session.Retention)), ids)
			if done.Error != nil {
				return done.Error
			}
			return endedTogether(tx, m.tenant, at.Time, done.RowsAffected)
		})
		if err != nil {
			return err
		}
		if last = ids[len(ids)-1]; len(ids) < pruneBatch {
			last = nil
		}
	}
	return nil
}

// swept notes that the mark has been worked off, unless it has moved since.
func (s *Store) swept(ctx context.Context, table string, m mark) error {
	tenant := " AND tenant_id = ?"
	args := []any{m.validFrom, m.id, m.tenant, m.validFrom}
	if table == "tenants" {
		tenant = ""
		args = []any{m.validFrom, m.id, m.validFrom}
	}
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("UPDATE "+table+" SET swept_at = ? WHERE id = ?"+tenant+" AND sessions_valid_from = ?", args...).Error
	})
}
