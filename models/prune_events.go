package models

import (
	"bytes"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// pruneEvents deletes a batch of the events that are older than the retention of their
// tenant, and reports whether there are more. Each tenant is a range of the index
// events_tenant, which begins with its oldest event.
func pruneEvents(tx *gorm.DB, now time.Time) (more bool, err error) {
	var due []struct {
		ID        string
		Retention int64 // in microseconds
	}
	// The events of the whole deployment belong to the tenant "". The range of tenant_id
	// has one value. With an equality, PostgreSQL would take the order of the primary
	// key, and read every event to find that a tenant has none.
	err = tx.Raw(`SELECT id, retention FROM (
			SELECT id, COALESCE(event_retention, @Default) AS retention FROM tenants UNION ALL SELECT '', @Default) t
		WHERE (SELECT at FROM events WHERE tenant_id >= t.id AND tenant_id <= t.id ORDER BY events.tenant_id, events.id LIMIT 1) < CAST(@Now AS BIGINT) - retention`, struct {
		Now     Time
		Default int64
	}{At(now), settings.EventRetention.Microseconds()}).Scan(&due).Error
	if err != nil {
		return false, err
	}
	left := int64(pruneBatch)
	for _, t := range due {
		before := now.Add(-time.Duration(t.Retention) * time.Microsecond)
		done := tx.Exec(`DELETE FROM events WHERE id IN (SELECT id FROM events
			WHERE tenant_id = ? AND id < ? AND (until IS NULL OR until < ?) AND NOT `+stillRead+` ORDER BY id LIMIT ?)`,
			t.ID, eventsFrom(before), At(now), At(now.Add(-settings.EventRetention)), EventRefreshElsewhere, left)
		if done.Error != nil {
			return false, done.Error
		}
		if left -= done.RowsAffected; left == 0 {
			return true, nil
		}
	}
	return false, nil
}

// stillRead is the condition for the events that retriedElsewhere reads to notice a
// refresh token that two parties use. They matter while their session lives, up to
// the default retention.
const stillRead = `(at >= ? AND type = ? AND EXISTS (SELECT 1 FROM sessions s WHERE s.id = events.session_id AND s.ended_at IS NULL))`

// pruneDeliveries deletes a batch of the deliveries that were given up and of which the
// log no longer has the event, and reports whether there are more.
func pruneDeliveries(tx *gorm.DB, now time.Time) (more bool, err error) {
	var oldest []struct {
		TenantID, ID string
		Retention    int64 // in microseconds
		Event        []byte
	}
	err = tx.Raw(`SELECT * FROM (SELECT d.tenant_id, d.id, COALESCE(t.event_retention, ?) AS retention,
				(SELECT event_id FROM event_deliveries WHERE tenant_id = d.tenant_id AND destination_id = d.id AND dead_at IS NOT NULL ORDER BY event_id LIMIT 1) AS event
			FROM event_destinations d JOIN tenants t ON t.id = d.tenant_id) oldest
		WHERE event IS NOT NULL`, settings.EventRetention.Microseconds()).Scan(&oldest).Error
	if err != nil {
		return false, err
	}
	left := int64(pruneBatch)
	for _, d := range oldest {
		before := eventsFrom(now.Add(-time.Duration(d.Retention) * time.Microsecond))
		if bytes.Compare(d.Event, before) >= 0 {
			continue
		}
		done := tx.Exec(`DELETE FROM event_deliveries WHERE tenant_id = ? AND destination_id = ? AND event_id IN (SELECT event_id FROM event_deliveries
			WHERE tenant_id = ? AND destination_id = ? AND dead_at IS NOT NULL AND event_id < ? ORDER BY event_id LIMIT ?)`, d.TenantID, d.ID, d.TenantID, d.ID, before, left)
		if done.Error != nil {
			return false, done.Error
		}
		if left -= done.RowsAffected; left == 0 {
			return true, nil
		}
	}
	return false, nil
}
