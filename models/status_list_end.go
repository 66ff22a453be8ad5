package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
)

const (
	// statusListRest is how long a list is there at the least: an exchange that
	// has drawn an entry of it must have committed before its end is decided.
	statusListRest = removedPause
	// A node looks at so many entries to find out that there are too many lists,
	// which is when no more of them are taken than this.
	statusSample, statusSparse = 64, 8
)

// EndStatusLists ends the lists of which nobody has an entry and, where the open
// ones of a tenant are nearly empty, the newest of them: no further session
// gets an entry of it. It is served for as long as somebody has one.
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
