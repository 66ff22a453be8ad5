package models

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// applyUser sets the attributes that the file names. Mapped attributes stay.
func (a *applier) applyUser(tenant string, want settings.UserSpec) error {
	return a.writeUser(tenant, want, nil)
}

// writeUser is applyUser, and removes the attributes with the given names.
func (a *applier) writeUser(tenant string, want settings.UserSpec, removed map[string]bool) error {
	row, err := a.store.lockUser(a.tx, tenant, want.Sub)
	created := false
	if errors.Is(err, ErrNotFound) {
		row, created, err = a.store.createUser(a.tx, User{TenantID: tenant, Sub: want.Sub, At: a.now})
	}
	if err != nil {
		return err
	}
	if err := markNamed(a.tx, row, a.now); err != nil {
		return err
	}
	named, err := normalizeAttributes(want.Attributes)
	if err != nil {
		return err
	}
	type fields struct {
		Attributes map[string]any `json:"attributes"`
		Disabled   bool           `json:"disabled,omitempty"`
	}
	off := want.Disabled
	if want.Path != "" && a.secretGiven(want.Place, !off, "disabled") == settings.Absent {
		off = row.Disabled
	}
	merged := row.attributes().without(removed).set(named, a.source)
	changed, err := diff(created, fields{row.Attributes, row.Disabled}, fields{merged.Values, off})
	if err != nil {
		return err
	}
	if !a.record(created, tenant, "user", want.Sub, changed) {
		if maps.Equal(merged.Sources, row.Sources) {
			return nil
		}
		row.Sources, row.At = merged.Sources, a.now
		return updateUser(a.tx, row)
	}
	if row.Disabled && !off {
		a.addNotes(notes{"loosens: disabled is removed: the user may sign in again"})
	}
	disabled := off && !row.Disabled && !created
	row.Attributes, row.Sources, row.Disabled, row.At = merged.Values, merged.Sources, off, a.now
	if err := updateUser(a.tx, row); err != nil || !disabled {
		return err
	}
	names, err := endUserSessions(a.tx, tenant, want.Sub, a.now, session.UserDisabled)
	if err != nil {
		return err
	}
	a.addEvent(tenant, EventUserDisabled, Event{Subject: want.Sub, Details: map[string]any{"audience": names}})
	return nil
}

// endUserSessions ends every session of a user, refuses the client tokens that
// were issued before, and returns the clients and audiences that may have
// received a token of a session. One event covers them all.
func endUserSessions(tx *gorm.DB, tenant, sub string, now time.Time, why session.EndReason) (names []string, err error) {
	if err := requireLaterSignIn(tx, tenant, sub, now); err != nil {
		return nil, err
	}
	var ended []struct{ ClientID, Audience string }
	err = tx.Raw(`UPDATE sessions SET ended_at = ?, end_reason = ?, prune_at = ?
		WHERE tenant_id = ? AND subject = ? AND ended_at IS NULL RETURNING client_id, audience`,
		At(now), why, At(now.Add(session.Retention)), tenant, sub).Scan(&ended).Error
	if err != nil {
		return nil, err
	}
	clients := make([]string, len(ended))
	for i, row := range ended {
		clients[i] = row.ClientID
		names = append(append(names, strings.Fields(row.Audience)...), row.ClientID)
	}
	slices.Sort(names)
	return slices.Compact(names), countEnded(tx, tenant, now, clients)
}
