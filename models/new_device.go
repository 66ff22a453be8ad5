package models

import (
	"context"
	"encoding/binary"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// mostDevices bounds the earlier sessions of a user with which a new one is compared.
const mostDevices = 200

// NoteNewDevice writes EventNewDevice if a session is the first one of its user from its
// network and product, among those that are stored, and not the first one at all. created
// is the event of its creation. Repeating it changes nothing.
func (s *Store) NoteNewDevice(ctx context.Context, created ListedEvent) error {
	ip, _ := created.Details["ip"].(string)
	agent, stored := created.Details["user_agent"].(string)
	if created.SessionID == nil || !stored { // the tenant stores no devices
		return nil
	}
	var earlier []struct{ UserAgent, IP string }
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT user_agent, ip FROM sessions WHERE tenant_id = ? AND subject = ? AND id <> ? AND created_at <= ? ORDER BY created_at DESC LIMIT ?`,
			created.TenantID, created.Subject, *created.SessionID, At(created.At), mostDevices).Scan(&earlier).Error
	})
	if err != nil || len(earlier) == 0 {
		return err
	}
	this := session.Device{IP: ip, UserAgent: agent}
	for _, e := range earlier {
		if !session.OtherDevice(session.Device{IP: e.IP, UserAgent: e.UserAgent}, this) {
			return nil
		}
	}
	e := created.Event
	e.Type, e.Details = EventNewDevice, map[string]any{"ip": this.IP, "user_agent": this.UserAgent}
	// The id follows from that of the creation, so that another node writes the same.
	id := created.ID
	binary.BigEndian.PutUint64(id[:8], binary.BigEndian.Uint64(id[:8])+1)
	e.id = &id
	return s.exec(ctx, func(db *gorm.DB) error {
		var n int
		if err := db.Raw("SELECT count(*) FROM events WHERE id = ?", id[:]).Row().Scan(&n); err != nil || n > 0 {
			return err
		}
		return insertEvent(db, e)
	})
}
