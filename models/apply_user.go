package models

import (
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// user sets the attributes that the file names; mapped ones beside them stay.
func (a *applier) user(tenant string, want UserSpec) error {
	row, err := a.store.lockUser(a.tx, tenant, want.Sub)
	created := false
	if errors.Is(err, ErrNotFound) {
		row, created, err = a.store.makeUser(a.tx, User{TenantID: tenant, Sub: want.Sub, At: a.now})
	}
	if err != nil {
		return err
	}
	named, err := asStored(want.Attributes)
	if err != nil {
		return err
	}
	type fields struct {
		Attributes map[string]any `json:"attributes"`
		Disabled   bool           `json:"disabled,omitempty"`
	}
	merged := Overlay(row.Attributes, named)
	changed, err := diff(created, fields{row.Attributes, row.Disabled}, fields{merged, want.Disabled})
	if err != nil || !a.record(created, tenant, "user", want.Sub, changed) {
		return err
	}
	disabled := want.Disabled && !row.Disabled && !created
	row.Attributes, row.Disabled, row.At = merged, want.Disabled, a.now
	if err := updateUser(a.tx, row); err != nil || !disabled {
		return err
	}
	if err := endUserSessions(a.tx, tenant, want.Sub, a.now, session.UserDisabled); err != nil {
		return err
	}
	return a.event(tenant, EventUserDisabled, Event{Subject: want.Sub})
}

// endUserSessions ends every session of a user. One event stands for them all.
func endUserSessions(tx *gorm.DB, tenant, sub string, now time.Time, why session.EndReason) error {
	return tx.Exec(`UPDATE sessions SET ended_at = ?, end_reason = ?, prune_at = ?
		WHERE tenant_id = ? AND subject = ? AND ended_at IS NULL`,
		At(now), why, At(now.Add(session.Retention)), tenant, sub).Error
}
