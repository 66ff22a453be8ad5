package models

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// deletion is a deleted user whom events may still name.
type deletion struct {
	TenantID, Sub, Pseudonym string
	DeletedAt                Time
}

// newDeletion generates the pseudonym.
func newDeletion(tenant, sub string, at time.Time) deletion {
	return deletion{TenantID: tenant, Sub: sub, Pseudonym: "deleted-" + strings.ToLower(rand.Text()), DeletedAt: At(at)}
}

const (
	// A pass reads the whole event log and rewrites the events of all pending
	// deletions, so it waits for several of them.
	deletionsWait  = time.Hour
	deletionsBatch = 5000
)

// FinishDeletions rewrites the events of deleted users, of many at once. A
// request that was in progress when its user was deleted may write one more
// event, so only a pass that begins after that can finish a deletion.
func (s *Store) FinishDeletions(ctx context.Context) error {
	var list []deletion
	now := s.Now()
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT tenant_id, sub, pseudonym, deleted_at FROM user_deletions WHERE deleted_at <= ? ORDER BY deleted_at LIMIT ?",
			At(now.Add(-removedPause)), deletionsBatch).Scan(&list).Error
	})
	if err != nil || len(list) == 0 || len(list) < deletionsBatch && now.Before(list[0].DeletedAt.Add(deletionsWait)) {
		return err
	}
	if err := s.rewriteEvents(ctx, list); err != nil {
		return fmt.Errorf("rewrite the events of deleted users: %w", err)
	}
	for finished := range slices.Chunk(list, pruneBatch) {
		var pseudonyms []string
		for _, d := range finished {
			pseudonyms = append(pseudonyms, d.Pseudonym)
		}
		err := s.exec(ctx, func(db *gorm.DB) error {
			return db.Exec("DELETE FROM user_deletions WHERE pseudonym IN ?", pseudonyms).Error
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rewriteEventsOf rewrites the events of one sub, which may have been deleted
// more than once.
func (s *Store) rewriteEventsOf(ctx context.Context, tenant, sub string) error {
	var list []deletion
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT tenant_id, sub, pseudonym, deleted_at FROM user_deletions WHERE tenant_id = ? AND sub = ? ORDER BY deleted_at", tenant, sub).Scan(&list).Error
	})
	if err != nil || len(list) == 0 {
		return err
	}
	return s.rewriteEvents(ctx, list)
}

// pseudonyms holds deletions by tenant and sub, oldest first.
type pseudonyms map[[2]string][]deletion

func pseudonymsOf(list []deletion) pseudonyms {
	p := pseudonyms{}
	for _, d := range list {
		of := [2]string{d.TenantID, d.Sub}
		p[of] = append(p[of], d)
	}
	return p
}

// lookup returns the pseudonym that replaces a user in an event of that time.
// An event after the deletion is about somebody who came back as a new user.
func (p pseudonyms) lookup(tenant, sub string, at Time) (pseudonym string, deleted bool) {
	for _, d := range p[[2]string{tenant, sub}] {
		if !d.DeletedAt.Before(at.Time) {
			return d.Pseudonym, true
		}
	}
	return "", false
}

// rewriteEvents makes one pass through the event log, a day at a time: the id
// of an event begins with its time. The list is ordered by deleted_at.
func (s *Store) rewriteEvents(ctx context.Context, list []deletion) error {
	var first Time
	err := s.query(ctx, func(db *gorm.DB) error { return db.Raw("SELECT min(at) FROM events").Row().Scan(&first) })
	if err != nil || first.IsZero() {
		return err
	}
	gone, end := pseudonymsOf(list), list[len(list)-1].DeletedAt.Add(time.Microsecond)
	for from := first.Time; from.Before(end); from = from.Add(24 * time.Hour) {
		to := from.Add(24 * time.Hour)
		if to.After(end) {
			to = end
		}
		if err := s.rewriteEventsBetween(ctx, gone, eventsFrom(from), eventsFrom(to)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) rewriteEventsBetween(ctx context.Context, gone pseudonyms, from, to []byte) error {
	for {
		var rows []eventOfUser
		err := s.longQuery(ctx, func(db *gorm.DB) error {
			return db.Raw(`SELECT id, at, tenant_id, session_id, subject, details FROM events WHERE id > ? AND id < ?
				AND ((tenant_id, subject) IN (SELECT tenant_id, sub FROM user_deletions) OR details LIKE '%"sub":%') ORDER BY id LIMIT ?`, from, to, pruneBatch).Scan(&rows).Error
		})
		if err != nil || len(rows) == 0 {
			return err
		}
		err = s.transaction(ctx, func(tx *gorm.DB) error {
			for _, row := range rows {
				if err := row.rewrite(tx, gone); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(rows) < pruneBatch {
			return err
		}
		from = rows[len(rows)-1].ID
	}
}

// keptDetails are the members of an event's details that contain nothing about
// a person, or that a revocation needs.
var keptDetails = []string{
	"reason", "before", "audience", "generation", "current_generation", "iss", "issuer", "jti", "amr", "acr", "claims", "rules",
	"attributes", "attributes_removed", "expires_at", "change", "kind", "actor", "fields",
}

type eventOfUser struct {
	ID, SessionID     []byte
	At                Time
	TenantID, Subject string
	Details           string
}

// rewrite puts the pseudonym in the place of the user: in an event about the
// user, and in an event about somebody else whose member sub names the user. An
// event that revokes everything of the user no longer can; the events of the
// single sessions have replaced it.
func (e eventOfUser) rewrite(tx *gorm.DB, gone pseudonyms) error {
	details := map[string]any{}
	if e.Details != "null" {
		var err error
		if details, err = ParseObject([]byte(e.Details)); err != nil {
			return err
		}
	}
	subject, own := gone.lookup(e.TenantID, e.Subject, e.At)
	named, _ := details["sub"].(string)
	other, names := gone.lookup(e.TenantID, named, e.At)
	switch {
	case own:
		maps.DeleteFunc(details, func(name string, _ any) bool { return !slices.Contains(keptDetails, name) })
	case names:
		subject, details["sub"] = e.Subject, other
	default:
		return nil
	}
	text, err := json.Marshal(details)
	if err != nil {
		return err
	}
	until := "until"
	if _, token := details["jti"]; own && len(e.SessionID) == 0 && !token {
		until = "NULL"
	}
	return tx.Exec("UPDATE events SET subject = ?, details = ?, until = "+until+" WHERE id = ?", subject, string(text), e.ID).Error
}
