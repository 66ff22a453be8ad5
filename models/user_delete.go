package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// Deletion is the result of DeleteUser.
type Deletion struct {
	Pseudonym   string // replaces the user in the event log; nothing maps it back
	Sessions    int    // that were ended
	WasDisabled bool   // the user could not sign in before, and can now
	Suspended   bool   // and stays suspended

	Receivers []string // ids of the event destinations that may have received events about the user
}

// DeleteUser deletes a user for good: the row with its attributes is deleted,
// all sessions end and lose their device data, and events keep a random
// pseudonym. A suspension of the user stays. A concurrent sign-in either comes
// first, so that its session ends too, or later, so that it creates a new user.
// DeleteUser returns ErrNotFound if there is no such user and nothing is left
// of one.
func (s *Store) DeleteUser(ctx context.Context, tenant, sub string, by Actor) (*Deletion, error) {
	var done *Deletion
	err := s.longTransaction(ctx, func(tx *gorm.DB) error {
		user, err := s.lockUser(tx, tenant, sub) // waits for a sign-in
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if done, err = s.deleteUser(tx, user, newDeletion(tenant, sub, s.Now()), map[string]any{"actor": by.details()}); err != nil {
			return err
		}
		done.Receivers, err = receiversOfUsers(tx, tenant)
		return err
	})
	if err != nil {
		return nil, err
	}
	return done, s.rewriteEventsOf(ctx, tenant, sub)
}

// receiversOfUsers returns the ids of the event destinations of a tenant that may get
// events that name users.
func receiversOfUsers(tx *gorm.DB, tenant string) (ids []string, err error) {
	var rows []Destination
	if err := tx.Where("tenant_id = ?", tenant).Order("id").Find(&rows).Error; err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].MayNameUsers() {
			ids = append(ids, rows[i].ID)
		}
	}
	return ids, nil
}

// deleteUser deletes a user whose row is locked. user is nil if there is no
// row; there may still be sessions. Events still name the user afterwards.
func (s *Store) deleteUser(tx *gorm.DB, user *User, d deletion, details map[string]any) (*Deletion, error) {
	done := &Deletion{Pseudonym: d.Pseudonym}
	if user != nil {
		done.WasDisabled, done.Suspended = user.Disabled, user.Suspended
	}
	rows, err := s.forgetSessions(tx, d.TenantID, d.Sub, done, d.DeletedAt.Time)
	if err != nil {
		return nil, err
	}
	if user == nil && rows == 0 {
		return nil, ErrNotFound
	}
	for _, table := range []string{"user_attributes", "users"} {
		if err := tx.Exec("DELETE FROM "+table+" WHERE tenant_id = ? AND sub = ?", d.TenantID, d.Sub).Error; err != nil {
			return nil, err
		}
	}
	err = tx.Exec("INSERT INTO user_deletions (tenant_id, sub, pseudonym, deleted_at) VALUES (@TenantID, @Sub, @Pseudonym, @DeletedAt)", d).Error
	if err != nil {
		return nil, err
	}
	return done, insertEvent(tx, Event{At: d.DeletedAt.Time, TenantID: d.TenantID, Type: EventUserDeleted, Subject: d.Pseudonym, Details: details})
}

// forgetSessions ends the user's sessions and removes personal data from their
// rows. Each session gets an event of its own, by its id: an event about the
// whole user would have to name the user, and such events are rewritten.
func (s *Store) forgetSessions(tx *gorm.DB, tenant, sub string, done *Deletion, now time.Time) (rows int, err error) {
	var list []struct {
		ID                 []byte
		ClientID, IssuerID string
		EndedAt            Time
	}
	err = tx.Raw("SELECT id, client_id, issuer_id, ended_at FROM sessions WHERE tenant_id = ? AND subject = ? ORDER BY id", tenant, sub).Scan(&list).Error
	if err != nil {
		return 0, err
	}
	for _, row := range list {
		about := &Session{ID: SessionID(row.ID), TenantID: tenant, ClientID: row.ClientID, IssuerID: row.IssuerID, Subject: done.Pseudonym}
		ended, args := endEvent(about, now, session.Revoked)
		if row.EndedAt.IsZero() {
			done.Sessions++
			err = s.record(tx, ended, endSession, args...)
		} else {
			ended.repeated = true
			err = insertEvent(tx, ended)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(list), tx.Exec(`UPDATE sessions SET subject = ?, session_attributes = '{}', device_name = '', user_agent = '', ip = '', upstream_sid = NULL
		WHERE tenant_id = ? AND subject = ?`, done.Pseudonym, tenant, sub).Error
}
