package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
)

const (
	// statusListRest is the minimum age of a list before its end is decided: an
	// exchange that has drawn an entry of it must have committed by then.
	statusListRest = removedPause
	// A node samples statusSample entries. The tenant has too many lists if at
	// most statusSparse of them are taken.
	statusSample, statusSparse = 64, 8
)

// EndStatusLists ends the lists of which no session has an entry and, if the
// open lists of a tenant are nearly empty, the newest of them. No further
// session gets an entry of an ended list; it is served for as long as a session
// has one.
func (s *Store) EndStatusLists(ctx context.Context) error {
	now := s.Now()
	err := s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec(`UPDATE status_lists SET ended_at = ? WHERE ended_at IS NULL AND opened_at <= ? AND NOT EXISTS (SELECT 1 FROM sessions
			WHERE sessions.tenant_id = status_lists.tenant_id AND status_index >= list * ? AND status_index < (list + 1) * ?)`,
			At(now), At(now.Add(-statusListRest)), statusStride, statusStride).Error
	})
	if err != nil {
		return err
	}
	var tenants []string
	err = s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT tenant_id FROM status_lists WHERE ended_at IS NULL GROUP BY tenant_id HAVING count(*) > 1 AND max(opened_at) <= ?", At(now.Add(-statusListRest))).Scan(&tenants).Error
	})
	for _, tenant := range tenants {
		err = errors.Join(err, s.endSparseStatusList(ctx, tenant, now))
	}
	return err
}

func (s *Store) endSparseStatusList(ctx context.Context, tenant string, now time.Time) error {
	return s.transaction(ctx, func(tx *gorm.DB) error {
		drawn, err := drawStatus(tx, tenant, statusSample)
		if err != nil || statusSample-len(drawn.free) > statusSparse {
			return err
		}
		return tx.Exec("UPDATE status_lists SET ended_at = ? WHERE tenant_id = ? AND ended_at IS NULL AND list = (SELECT max(list) FROM status_lists WHERE tenant_id = ? AND ended_at IS NULL)",
			At(now), tenant, tenant).Error
	})
}
