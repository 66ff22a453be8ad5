package models

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// pruneBatch limits the rows of one pruning transaction.
const pruneBatch = 500

// Lease acquires or renews a named lease for holder, for a duration of ttl. It
// returns false if another node holds the lease.
func (s *Store) Lease(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (held bool, err error) {
	err = s.exec(ctx, func(db *gorm.DB) error {
		done := db.Exec(`INSERT INTO leases (name, holder, expires_at) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
			WHERE leases.holder = excluded.holder OR leases.expires_at < ?`, name, holder, At(now.Add(ttl)), At(now))
		held = done.RowsAffected == 1
		return done.Error
	})
	return held, err
}

// Prune removes one batch of what is too old to matter and reports whether
// there is more. An expired session is first marked as ended, with its event,
// and deleted when its retention is over. A session that was used since it was
// last checked gets a new date.
func (s *Store) Prune(ctx context.Context, now time.Time) (more bool, err error) {
	err = s.longTransaction(ctx, func(tx *gorm.DB) error {
		due, err := dueSessions(tx, now)
		if err != nil {
			return err
		}
		for _, row := range due {
			if err := pruneSession(tx, row, now); err != nil {
				return err
			}
		}
		more = len(due) == pruneBatch
		for _, statement := range []string{
			"DELETE FROM spent_tokens WHERE (tenant_id, issuer, jti_digest) IN (SELECT tenant_id, issuer, jti_digest FROM spent_tokens WHERE expires_at < ? LIMIT ?)",
			"DELETE FROM upstream_logouts WHERE (tenant_id, issuer_id, digest) IN (SELECT tenant_id, issuer_id, digest FROM upstream_logouts WHERE expires_at < ? LIMIT ?)",
			"DELETE FROM revoked_tokens WHERE (tenant_id, jti) IN (SELECT tenant_id, jti FROM revoked_tokens WHERE expires_at < ? LIMIT ?)",
		} {
			done := tx.Exec(statement, At(now), pruneBatch)
			if done.Error != nil {
				return done.Error
			}
			more = more || done.RowsAffected == pruneBatch
		}
		moreConsole, err := pruneConsole(tx, now)
		if err != nil {
			return err
		}
		moreEvents, err := pruneEvents(tx, now)
		if err != nil {
			return err
		}
		moreDeliveries, err := pruneDeliveries(tx, now)
		more = more || moreConsole || moreEvents || moreDeliveries
		return err
	})
	return more, err
}

func dueSessions(tx *gorm.DB, now time.Time) ([]*Session, error) {
	return readSessions(tx.Raw("SELECT "+sessionColumns+" FROM sessions WHERE prune_at <= ? ORDER BY prune_at LIMIT ?", At(now), pruneBatch))
}

// pruneSession makes each statement conditional on the row being as it was
// read.
func pruneSession(tx *gorm.DB, row *Session, now time.Time) error {
	at, why, ended := row.Lifetime().Ended(now)
	switch {
	case !ended:
		return tx.Exec("UPDATE sessions SET prune_at = ? WHERE id = ? AND ended_at IS NULL", At(row.Lifetime().Expiry()), row.ID).Error
	case row.EndedAt.IsZero():
		return expireSession(tx, row, now, at, why)
	default:
		if err := recordLateSeen(tx, row); err != nil {
			return err
		}
		return tx.Exec("DELETE FROM sessions WHERE id = ?", row.ID).Error
	}
}

// expireSession ends a session by time. No access token outlives the end that
// the session had when the token was issued (session.Policy.AccessExpiry), but
// that end may have been moved since, by a back end or by a policy that is
// stricter now.
func expireSession(tx *gorm.DB, row *Session, now, at time.Time, why session.EndReason) error {
	var life settings.Duration
	err := tx.Raw("UPDATE sessions SET ended_at = ?, end_reason = ?, prune_at = ? WHERE id = ? AND ended_at IS NULL AND generation = ? RETURNING "+longestAccess,
		At(at), why, At(at.Add(session.Retention)), row.ID, row.Refresh.Generation,
		At(at), row.TenantID, row.ClientID, settings.Duration(session.MaxAccessTTL)).Row().Scan(&life)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	e := row.Event(at, EventSessionEnded, map[string]any{"reason": why})
	e.ended = at
	if row.LastActiveAt.Add(life.Std()).After(at) {
		e.At, e.Until = now, session.RevokedUntil(at, life.Std()) // nodes look for events that are stamped now
	}
	return insertEvent(tx, e)
}
