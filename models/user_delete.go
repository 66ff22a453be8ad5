package models

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// Deletion reports what DeleteUser did.
type Deletion struct {
	Pseudonym   string // stands in for the user in the event log; nothing maps it back
	Sessions    int    // that were ended
	WasDisabled bool   // so that the user could not sign in, as they can now
	Suspended   bool   // and stays so
}

// DeleteUser deletes a user for good: the row with its attributes goes, all
// sessions end and lose what they know of devices, and events keep a random
// pseudonym. A suspension of the user stays. A sign-in that is under way comes
// before, and its session ends too, or after, and makes a new user.
// ErrNotFound: there is no such user, and nothing of one is left.
func (s *Store) DeleteUser(ctx context.Context, tenant, sub string) (*Deletion, error) {
	var done *Deletion
	err := s.longTransaction(ctx, func(tx *gorm.DB) error {
		done = &Deletion{Pseudonym: "deleted-" + strings.ToLower(rand.Text())}
		user, err := s.lockUser(tx, tenant, sub) // waits for a sign-in
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if user != nil {
			done.WasDisabled, done.Suspended = user.Disabled, user.Suspended
		}
		now := s.Now()
		rows, err := s.forgetSessions(tx, tenant, sub, done, now)
		if err != nil {
			return err
		}
		if user == nil && rows == 0 {
			return ErrNotFound
		}
		if err := tx.Exec("DELETE FROM users WHERE tenant_id = ? AND sub = ?", tenant, sub).Error; err != nil {
			return err
		}
		err = tx.Exec("INSERT INTO user_deletions (tenant_id, sub, pseudonym, deleted_at) VALUES (?, ?, ?, ?)", tenant, sub, done.Pseudonym, At(now)).Error
		if err != nil {
			return err
		}
		return insertEvent(tx, Event{At: now, TenantID: tenant, Type: EventUserDeleted, Subject: done.Pseudonym})
	})
	if err != nil {
		return nil, err
	}
	return done, s.FinishDeletions(ctx)
}

// forgetSessions ends the user's sessions and takes out of their rows what is
// personal. Each gets an event of its own, by its id: an event about the whole
// user would have to name them, and those that do are rewritten.
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
		ended, args := ending(about, now, session.Revoked)
		if row.EndedAt.IsZero() {
			done.Sessions++
			err = s.record(tx, ended, endSession, args...)
		} else {
			ended.again = true
			err = insertEvent(tx, ended)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(list), tx.Exec(`UPDATE sessions SET subject = ?, session_attributes = '{}', device_name = '', user_agent = '', ip = ''
		WHERE tenant_id = ? AND subject = ?`, done.Pseudonym, tenant, sub).Error
}

// deletion is a user whose events may still name them.
type deletion struct {
	TenantID, Sub, Pseudonym string
	DeletedAt                Time
}

// FinishDeletions rewrites the events of deleted users, in small batches. A
// request that was under way when its user was deleted may write one more
// event: each deletion is worked off again after that could be.
func (s *Store) FinishDeletions(ctx context.Context) error {
	var list []deletion
	begun := s.Now()
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT tenant_id, sub, pseudonym, deleted_at FROM user_deletions ORDER BY deleted_at").Scan(&list).Error
	})
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := s.rewriteEvents(ctx, d); err != nil {
			return fmt.Errorf("rewrite the events of a deleted user: %w", err)
		}
		if begun.Before(d.DeletedAt.Add(removedPause)) {
			continue
		}
		err := s.exec(ctx, func(db *gorm.DB) error {
			return db.Exec("DELETE FROM user_deletions WHERE pseudonym = ?", d.Pseudonym).Error
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keptDetails are the members of an event's details that say nothing of a
// person, or that a revocation needs.
var keptDetails = []string{
	"reason", "before", "audience", "generation", "current_generation", "iss", "issuer", "jti", "amr", "acr", "claims", "rules",
	"attributes", "attributes_removed", "expires_at",
}

// rewriteEvents goes once through the events of the tenant that are not younger
// than the deletion: the same person may have come back as a new user since.
func (s *Store) rewriteEvents(ctx context.Context, d deletion) error {
	quoted, err := json.Marshal(d.Sub)
	if err != nil {
		return err
	}
	like := "%" + literal(string(quoted)) + "%"
	for last := []byte{}; last != nil; {
		var rows []eventOfUser
		err := s.query(ctx, func(db *gorm.DB) error {
			return db.Raw(`SELECT id, session_id, subject, details FROM events WHERE tenant_id = ? AND at <= ? AND id > ?
				AND (subject = ? OR details LIKE ? ESCAPE '!') ORDER BY id LIMIT ?`, d.TenantID, d.DeletedAt, last, d.Sub, like, pruneBatch).Scan(&rows).Error
		})
		if err != nil || len(rows) == 0 {
			return err
		}
		err = s.transaction(ctx, func(tx *gorm.DB) error {
			for _, row := range rows {
				if err := row.rewrite(tx, d); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if last = rows[len(rows)-1].ID; len(rows) < pruneBatch {
			last = nil
		}
	}
	return nil
}

type eventOfUser struct {
	ID, SessionID []byte
	Subject       string
	Details       string
}

// rewrite lets the pseudonym stand in. An event that revokes what the whole user
// had cannot do so any more; those of the single sessions have taken its place.
func (e eventOfUser) rewrite(tx *gorm.DB, d deletion) error {
	details := map[string]any{}
	if e.Details != "null" {
		var err error
		if details, err = ParseObject([]byte(e.Details)); err != nil {
			return err
		}
	}
	own := e.Subject == d.Sub
	for name, value := range details {
		if value == any(d.Sub) {
			details[name] = d.Pseudonym
		}
		if own && !slices.Contains(keptDetails, name) {
			delete(details, name)
		}
	}
	text, err := json.Marshal(details)
	if err != nil {
		return err
	}
	subject, until := e.Subject, "until"
	if own {
		subject = d.Pseudonym
		if _, token := details["jti"]; len(e.SessionID) == 0 && !token {
			until = "NULL"
		}
	}
	return tx.Exec("UPDATE events SET subject = ?, details = ?, until = "+until+" WHERE id = ?", subject, string(text), e.ID).Error
}
