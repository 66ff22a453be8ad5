package models

import (
	"context"
	"errors"
	"maps"

	"gorm.io/gorm"
)

// ErrEnded is the error of changing a session that has ended.
var ErrEnded = errors.New("the session has ended")

// ChangeSessionAttributes replaces the attributes of a session with what change makes
// of them. ErrEnded: the session has ended. Of several changes at once, each sees what
// the one before made.
func (s *Store) ChangeSessionAttributes(ctx context.Context, about *Session, change func(stored map[string]any) map[string]any, by Actor) (changed *Session, err error) {
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		if err := s.lockSession(tx, about.ID); err != nil {
			return err
		}
		row, err := readSession(tx.Raw("SELECT "+sessionColumns+" FROM sessions WHERE id = ? AND tenant_id = ?", about.ID, about.TenantID))
		if err != nil {
			return orNotFound(err)
		}
		if _, _, ended := row.Lifetime().Ended(s.Now()); ended {
			return ErrEnded
		}
		before := row.Attributes
		if row.Attributes, err = normalizeAttributes(change(before)); err != nil {
			return err
		}
		fields, err := diff(false, before, row.Attributes)
		if err != nil {
			return err
		}
		changed = row
		if len(fields) == 0 {
			return nil
		}
		text, err := marshalAttributes(row.Attributes)
		if err != nil {
			return err
		}
		if err := tx.Exec("UPDATE sessions SET session_attributes = ? WHERE id = ?", text, row.ID).Error; err != nil {
			return err
		}
		e := row.Event(s.Now(), EventConfigChanged, map[string]any{"change": "changed", "kind": "session", "actor": by.details()})
		if by.IP != "" {
			e.Details["ip"] = by.IP
		}
		if by.RequestID != "" {
			e.Details["request"] = by.RequestID
		}
		names := []AuditField{}
		for _, f := range fields { // values may be personal, as those of users are
			names = append(names, AuditField{Name: "attributes." + f.Name})
		}
		e.Details["fields"] = names
		return insertEvent(tx, e)
	})
	if err != nil {
		return nil, err
	}
	changed.Attributes = maps.Clone(changed.Attributes)
	return changed, nil
}
