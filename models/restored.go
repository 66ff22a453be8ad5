package models

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// ErrTokenBeforeRestore is returned for a client token that was issued before
// the database was restored: the database may have lost the record of its use.
var ErrTokenBeforeRestore = errors.New("the client token was issued before the database was restored")

// clientTokensValidFrom is the name of the setting that holds when the database
// was last restored, in microseconds.
const clientTokensValidFrom = "client_tokens_valid_from"

// Restored records that the database was restored from a backup, or failed over
// to a standby that had not received everything. Everything after `at` is lost:
// sign-outs, revocations, used client tokens.
//
// The database gets a new epoch, so that readers of the revocation feed start
// over. Client tokens issued before now are rejected. Unless keepSessions is
// set, the sessions created up to `at` end, because any of them may have been
// ended since. Restored returns how many it ended. After an error, call it
// again.
func (s *Store) Restored(ctx context.Context, at time.Time, keepSessions bool) (ended int, err error) {
	now := s.Now()
	if at.After(now) {
		return 0, fmt.Errorf("%s is in the future", at.Format(time.RFC3339))
	}
	if second := at.Truncate(time.Second); at.Equal(second) { // people write whole seconds and include all of the last one
		at = second.Add(time.Second - time.Microsecond)
	}
	if err := s.newEpoch(ctx, now); err != nil || keepSessions {
		return 0, err
	}
	for last, more := []byte{}, true; more; {
		var ids [][]byte
		err := s.longQuery(ctx, func(db *gorm.DB) error {
			return db.Raw("SELECT id FROM sessions WHERE id > ? AND created_at <= ? AND ended_at IS NULL ORDER BY id LIMIT ?", last, At(at), pruneBatch).Scan(&ids).Error
		})
		if err != nil {
			return ended, err
		}
		if more = len(ids) == pruneBatch; len(ids) == 0 {
			break
		}
		last = ids[len(ids)-1]
		var inBatch int
		err = s.transaction(ctx, func(tx *gorm.DB) error {
			var of []struct{ TenantID, ClientID string }
			err := tx.Raw("UPDATE sessions SET ended_at = ?, end_reason = ?, prune_at = ? WHERE ended_at IS NULL AND id IN ? RETURNING tenant_id, client_id",
				At(now), session.Restored, At(now.Add(session.Retention)), ids).Scan(&of).Error
			if err != nil {
				return err
			}
			inBatch = len(of)
			changes := map[sessionHour]int64{}
			for _, row := range of {
				changes[sessionHour{ClientOf{row.TenantID, row.ClientID}, hourOf(now)}]--
			}
			return addSessions(tx, bulkNode, changes)
		})
		if err != nil {
			return ended, err
		}
		ended += inBatch
	}
	return ended, s.revokeEverything(ctx, at)
}

func (s *Store) newEpoch(ctx context.Context, now time.Time) error {
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if err := tx.Exec("UPDATE settings SET value = ? WHERE name = 'epoch'", rand.Text()).Error; err != nil {
			return err
		}
		return tx.Exec("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			clientTokensValidFrom, strconv.FormatInt(now.UnixMicro(), 10)).Error
	})
}

// revokeEverything makes followers of the event log reject every access token
// issued so far. One event for each tenant covers all its sessions.
func (s *Store) revokeEverything(ctx context.Context, at time.Time) error {
	var tenants []string
	err := s.longQuery(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT id FROM tenants WHERE pruned_at IS NULL ORDER BY id").Scan(&tenants).Error
	})
	if err != nil {
		return err
	}
	return s.longTransaction(ctx, func(tx *gorm.DB) error {
		for _, tenant := range tenants {
			now := s.Now()
			before := now.Add(time.Second).Truncate(time.Second) // `iat` is in whole seconds
			e := Event{
				At: now, TenantID: tenant, Type: EventDatabaseRestored, Until: session.RevokedUntil(before, session.MaxAccessTTL),
				Details: map[string]any{"before": before.Unix(), "restored_to": at.Unix()},
			}
			s.recent.note(e, now)
			if err := insertEvent(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}
