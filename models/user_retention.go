package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// seenInterval is how old users.seen_at must be before a sign-in writes it
// again, and how long a session must have lived for its end to be recorded
// there.
const seenInterval = 7 * 24 * time.Hour

// seenLag is how far seen_at may lie before the end of a user's last session. A
// user is deleted up to this long after the retention is over, and never
// before.
const seenLag = 2 * seenInterval

// unnamedUser is the condition of the index users_unseen. Users who do not meet
// it are kept.
const unnamedUser = "named_at IS NULL AND suspended_at IS NULL AND NOT disabled"

// seenUpdate returns the change that records a sign-in of a stored user, or nil
// if one was recorded recently.
func (u *User) seenUpdate(at time.Time) *statement {
	if u == nil || at.Sub(u.SeenAt) < seenInterval {
		return nil
	}
	return &statement{"UPDATE users SET seen_at = ? WHERE tenant_id = ? AND sub = ?", []any{At(at), u.TenantID, u.Sub}}
}

// recordLateSeen records the end of a session that lived so long that its
// sign-in does not show when its user was last seen. The row of the session is
// about to be deleted.
func recordLateSeen(tx *gorm.DB, row *Session) error {
	if row.EndedAt.Sub(row.CreatedAt) < seenInterval {
		return nil
	}
	return tx.Exec("UPDATE users SET seen_at = ? WHERE tenant_id = ? AND sub = ? AND seen_at < ?",
		At(row.EndedAt), row.TenantID, row.Subject, At(row.EndedAt)).Error
}

// markNamed records that a file or an operator named the user. From then on,
// the user is never deleted for not signing in.
func markNamed(tx *gorm.DB, u *User, now time.Time) error {
	if u.Named {
		return nil
	}
	u.Named = true
	return tx.Exec("UPDATE users SET named_at = ? WHERE tenant_id = ? AND sub = ?", At(now), u.TenantID, u.Sub).Error
}

// unseenIn is a tenant with users who have not signed in for its retention.
type unseenIn struct {
	ID         string
	SeenBefore Time // users who were last seen earlier may be deleted
}

// DeleteUnseenUsers deletes, as DeleteUser does, a batch of the users who have
// not been seen for the user_retention of their tenant, and returns how many.
// Users with a session are kept, and so are users whom a file or an operator
// named, disabled or suspended. It finds the users by an index.
func (s *Store) DeleteUnseenUsers(ctx context.Context) (deleted int, err error) {
	tenants, err := s.tenantsWithUnseenUsers(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, t := range tenants {
		n, err := s.deleteUnseenIn(ctx, t, max(pruneBatch/len(tenants), 1))
		if deleted += n; err != nil {
			errs = append(errs, fmt.Errorf("delete unseen users of %s: %w", t.ID, err))
		}
		if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			break
		}
	}
	return deleted, errors.Join(errs...)
}

// tenantsWithUnseenUsers checks the user of each tenant with a retention who
// was seen the longest time ago. A tenant that was disabled during its
// retention, or a database that was restored, could not record who would have
// signed in, so the retention starts over there.
func (s *Store) tenantsWithUnseenUsers(ctx context.Context) (list []unseenIn, err error) {
	now := s.Now().Add(-seenLag).UnixMicro()
	err = s.query(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT id, CAST(@Now AS BIGINT) - user_retention AS seen_before FROM tenants
			WHERE user_retention > 0 AND NOT disabled AND suspended_at IS NULL AND pruned_at IS NULL
				AND COALESCE(sessions_valid_from, 0) < CAST(@Now AS BIGINT) - user_retention
				AND COALESCE((SELECT CAST(value AS BIGINT) FROM settings WHERE name = @Restored), 0) < CAST(@Now AS BIGINT) - user_retention
				AND (SELECT seen_at FROM users WHERE tenant_id = tenants.id AND `+unnamedUser+` ORDER BY seen_at LIMIT 1) < CAST(@Now AS BIGINT) - user_retention
			ORDER BY id`, struct {
			Now      int64
			Restored string
		}{now, clientTokensValidFrom}).Scan(&list).Error
	})
	return list, err
}

func (s *Store) deleteUnseenIn(ctx context.Context, t unseenIn, limit int) (deleted int, err error) {
	var subs []string
	err = s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT sub FROM users WHERE tenant_id = ? AND seen_at < ? AND "+unnamedUser+" ORDER BY seen_at LIMIT ?", t.ID, t.SeenBefore, limit).Scan(&subs).Error
	})
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, sub := range subs {
		done, err := s.deleteUnseen(ctx, t, sub)
		if done {
			deleted++
		}
		if err != nil {
			errs = append(errs, err)
		}
		if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			break
		}
	}
	return deleted, errors.Join(errs...)
}

// deleteUnseen checks again once it has locked the user, because a sign-in may
// have been in progress. A user who is kept gets a new seen_at or a named_at,
// which takes them off the list.
func (s *Store) deleteUnseen(ctx context.Context, t unseenIn, sub string) (deleted bool, err error) {
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		deleted = false
		user, err := s.lockUser(tx, t.ID, sub)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil || user.Named || user.Disabled || user.Suspended || !user.SeenAt.Before(t.SeenBefore.Time) {
			return err
		}
		if named, err := namedBefore(tx, user); err != nil || named {
			return errors.Join(err, markNamed(tx, user, s.Now()))
		}
		last, err := lastSession(tx, user, s.Now())
		if err != nil {
			return err
		}
		if !last.Before(t.SeenBefore.Time) {
			return tx.Exec("UPDATE users SET seen_at = ? WHERE tenant_id = ? AND sub = ?", last, t.ID, sub).Error
		}
		_, err = s.deleteUser(tx, user, newDeletion(t.ID, sub, s.Now()), map[string]any{"reason": "user_retention"})
		deleted = err == nil
		return err
	})
	return deleted && err == nil, err
}

// namedBefore reports whether a release that did not record named_at named the
// user.
func namedBefore(tx *gorm.DB, u *User) (named bool, err error) {
	for _, source := range u.Sources {
		if source == sourceFile || source == sourceOperator {
			return true, nil
		}
	}
	var n int
	err = tx.Raw("SELECT count(*) FROM file_nouns WHERE tenant_id = ? AND noun = ? AND id = ?", u.TenantID, KindUser, u.Sub).Row().Scan(&n)
	return n > 0, err
}

// lastSession returns when the user's last session ended, as far as its row
// still exists: now if a session has not ended, the zero time if there is none.
func lastSession(tx *gorm.DB, u *User, now time.Time) (last Time, err error) {
	err = tx.Raw("SELECT max(COALESCE(ended_at, ?)) FROM sessions WHERE tenant_id = ? AND subject = ?", At(now), u.TenantID, u.Sub).Row().Scan(&last)
	return last, err
}
