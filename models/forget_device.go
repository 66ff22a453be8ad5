package models

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// storeDevice sets whether device data is stored. When it is turned off, nodes
// that have not learned of it may store some for a while; everything is cleared
// after that.
func (t *Tenant) storeDevice(store bool, now time.Time) {
	switch {
	case store:
		t.ForgetDevicesAt = Time{}
	case t.StoreDevice:
		t.ForgetDevicesAt = At(now.Add(lastIssue))
	}
	t.StoreDevice = store
}

// ForgetDevices clears device name, user agent and address in the sessions of
// tenants that no longer store them, in small batches by primary key, once each
// time that a tenant turns it off. The event log keeps them until its events
// are deleted by age.
func (s *Store) ForgetDevices(ctx context.Context) error {
	var due []struct {
		ID              string
		ForgetDevicesAt Time
	}
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT id, forget_devices_at FROM tenants WHERE forget_devices_at <= ?", At(s.Now())).Scan(&due).Error
	})
	if err != nil {
		return err
	}
	for _, t := range due {
		if err := s.clearDevices(ctx, t.ID); err != nil {
			return fmt.Errorf("forget devices of %s: %w", t.ID, err)
		}
		err := s.exec(ctx, func(db *gorm.DB) error {
			return db.Exec("UPDATE tenants SET forget_devices_at = NULL WHERE id = ? AND forget_devices_at = ?", t.ID, t.ForgetDevicesAt).Error
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) clearDevices(ctx context.Context, tenant string) error {
	for last := []byte{}; last != nil; {
		var ids [][]byte
		err := s.query(ctx, func(db *gorm.DB) error {
			return db.Raw("SELECT id FROM sessions WHERE tenant_id = ? AND (device_name <> '' OR user_agent <> '' OR ip <> '') AND id > ? ORDER BY id LIMIT ?",
				tenant, last, pruneBatch).Scan(&ids).Error
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		err = s.exec(ctx, func(db *gorm.DB) error {
			return db.Exec("UPDATE sessions SET device_name = '', user_agent = '', ip = '' WHERE id IN ?", ids).Error
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
