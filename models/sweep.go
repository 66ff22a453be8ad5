package models

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// cutoff is a tenant, client or issuer that was disabled, suspended or removed:
// sessions created before ValidFrom are rejected, whatever their rows contain.
type cutoff struct {
	Tenant, ID string
	ValidFrom  Time
	Before     Time // sessions created before belong to it
}

// removedPause is how long after a removal the sessions are swept: an exchange
// that ran at the same time has committed by then.
const removedPause = 5 * time.Minute

// sweepTargets lists the tables with cutoffs and the sessions that each
// affects.
var sweepTargets = []struct {
	table, condition string
	why              session.EndReason
}{
	{"tenants", "", session.TenantDisabled},
	{"clients", " AND client_id = ?", session.ClientDisabled},
	{"trusted_issuers", " AND issuer_id = ?", session.IssuerDisabled},
}

// Sweep ends the rows of sessions that a cutoff already rejects, so that they
// are marked as over and pruned. It reads the table once for each cutoff, in
// small batches by primary key.
func (s *Store) Sweep(ctx context.Context) error {
	for _, sweep := range sweepTargets {
		cutoffs, err := s.cutoffs(ctx, sweep.table)
		if err != nil {
			return err
		}
		for _, c := range cutoffs {
			if err := s.sweepCutoff(ctx, c, sweep.condition, sweep.why); err != nil {
				return fmt.Errorf("sweep %s of %s: %w", c.ID, c.Tenant, err)
			}
			if err := s.recordSwept(ctx, sweep.table, c); err != nil {
				return err
			}
		}
	}
	return s.deleteRemoved(ctx)
}

// deleteRemoved deletes the rows of removed objects whose sessions have all
// been ended, and the users of removed tenants.
func (s *Store) deleteRemoved(ctx context.Context) error {
	err := s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec(`DELETE FROM upstream_subjects WHERE (tenant_id, issuer_id) IN
			(SELECT tenant_id, id FROM trusted_issuers WHERE removed_at IS NOT NULL AND swept_at >= sessions_valid_from)`).Error
	})
	if err != nil {
		return err
	}
	for _, table := range []string{"clients", "trusted_issuers"} {
		err := s.exec(ctx, func(db *gorm.DB) error {
			return db.Exec("DELETE FROM " + table + " WHERE removed_at IS NOT NULL AND swept_at >= sessions_valid_from").Error
		})
		if err != nil {
			return err
		}
	}
	for _, table := range []string{"user_attributes", "users"} {
		for more := true; more; {
			err := s.exec(ctx, func(db *gorm.DB) error {
				done := db.Exec("DELETE FROM "+table+" WHERE (tenant_id, sub) IN (SELECT u.tenant_id, u.sub FROM "+table+` u JOIN tenants t ON t.id = u.tenant_id
					WHERE t.pruned_at IS NOT NULL AND t.swept_at >= t.sessions_valid_from LIMIT ?)`, pruneBatch)
				more = done.RowsAffected >= pruneBatch // a user may have several attributes
				return done.Error
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// cutoffs lists those whose sessions have not been swept.
func (s *Store) cutoffs(ctx context.Context, table string) (list []cutoff, err error) {
	tenant, removed := "tenant_id", "removed_at"
	if table == "tenants" {
		tenant, removed = "id", "pruned_at"
	}
	now := s.Now()
	err = s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT "+tenant+" AS tenant, id, sessions_valid_from AS valid_from, CASE WHEN "+removed+" IS NULL THEN sessions_valid_from ELSE ? END AS before FROM "+table+
			" WHERE sessions_valid_from > COALESCE(swept_at, 0) AND ("+removed+" IS NULL OR "+removed+" <= ?)", At(now), At(now.Add(-removedPause))).Scan(&list).Error
	})
	return list, err
}

// sweepCutoff ends the sessions that the cutoff affects, one batch after the
// other. The event of the cutoff covers them all.
func (s *Store) sweepCutoff(ctx context.Context, c cutoff, condition string, why session.EndReason) error {
	about := []any{c.Tenant}
	if condition != "" {
		about = append(about, c.ID)
	}
	for last := []byte{}; last != nil; {
		var ids [][]byte
		err := s.query(ctx, func(db *gorm.DB) error {
			return db.Raw("SELECT id FROM sessions WHERE tenant_id = ?"+condition+" AND created_at < ? AND ended_at IS NULL AND id > ? ORDER BY id LIMIT ?",
				append(about, c.Before, last, pruneBatch)...).Scan(&ids).Error
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		at := c.ValidFrom
		err = s.transaction(ctx, func(tx *gorm.DB) error {
			var clients []string // of the sessions that ended
			err := tx.Raw("UPDATE sessions SET ended_at = ?, end_reason = ?, prune_at = ? WHERE ended_at IS NULL AND id IN ? RETURNING client_id",
				at, why, At(at.Add(session.Retention)), ids).Scan(&clients).Error
			if err != nil {
				return err
			}
			return countEnded(tx, c.Tenant, at.Time, clients)
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

// recordSwept records that the sessions have been swept, unless the cutoff has
// moved since.
func (s *Store) recordSwept(ctx context.Context, table string, c cutoff) error {
	tenant := " AND tenant_id = ?"
	args := []any{c.ValidFrom, c.ID, c.Tenant, c.ValidFrom}
	if table == "tenants" {
		tenant = ""
		args = []any{c.ValidFrom, c.ID, c.ValidFrom}
	}
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("UPDATE "+table+" SET swept_at = ? WHERE id = ?"+tenant+" AND sessions_valid_from = ?", args...).Error
	})
}
