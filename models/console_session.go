package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
)

// How long somebody stays signed in to the console, and how long a sign-in link can be
// used.
const (
	ConsoleLifetime = 8 * time.Hour
	ConsoleIdle     = 30 * time.Minute
	ConsoleLinkLife = 5 * time.Minute
)

// consoleActivity is how precisely the last activity is stored, so that a request does
// not write a row each time.
const consoleActivity = time.Minute

// ConsoleSession is the row of a browser that is signed in to the console with an admin
// key. The handle that the browser sends is not stored.
type ConsoleSession struct {
	Digest       []byte `gorm:"primaryKey"`
	KeyID        string
	CreatedAt    Time
	LastActiveAt Time   // to consoleActivity
	Flash        string // what the next page reports; empty: nothing
}

// Live reports whether the session has expired neither by its age nor by inactivity.
func (c *ConsoleSession) Live(now time.Time) bool {
	return now.Before(c.CreatedAt.Add(ConsoleLifetime)) && now.Before(c.LastActiveAt.Add(ConsoleIdle))
}

// CreateConsoleSession stores the session of a browser that has sent an admin key. It
// deletes the session that the browser had before; replaced is the digest of that
// session, or nil.
func (s *Store) CreateConsoleSession(ctx context.Context, c *ConsoleSession, replaced []byte, by Actor) error {
	return s.transaction(ctx, func(tx *gorm.DB) error { return s.openConsole(tx, c, replaced, by, "admin_key") })
}

// RedeemConsoleLink stores the session of a browser that has sent the code of a sign-in
// link, and deletes the link. It returns ErrNotFound if the link has been used or has
// expired.
func (s *Store) RedeemConsoleLink(ctx context.Context, link []byte, c *ConsoleSession, replaced []byte, by Actor) error {
	return s.transaction(ctx, func(tx *gorm.DB) error {
		done := tx.Exec("DELETE FROM console_links WHERE digest = ? AND key_id = ? AND expires_at > ?", link, c.KeyID, At(s.Now()))
		if done.Error != nil {
			return done.Error
		}
		if done.RowsAffected == 0 {
			return ErrNotFound
		}
		return s.openConsole(tx, c, replaced, by, "link")
	})
}

func (s *Store) openConsole(tx *gorm.DB, c *ConsoleSession, replaced []byte, by Actor, with string) error {
	if replaced != nil {
		if err := tx.Exec("DELETE FROM console_sessions WHERE digest = ?", replaced).Error; err != nil {
			return err
		}
	}
	c.CreatedAt = At(s.Now())
	c.LastActiveAt = c.CreatedAt
	if err := tx.Create(c).Error; err != nil {
		return err
	}
	return insertEvent(tx, s.auditEvent(EventConsoleSignedIn, "", by, map[string]any{"with": with}))
}

// ConsoleSession returns a live session and the key that it was opened with. It returns
// ErrNotFound if there is no such session, if the session has expired, and if the key
// can no longer be used.
func (s *Store) ConsoleSession(ctx context.Context, digest []byte) (*ConsoleSession, *AdminKey, error) {
	var c ConsoleSession
	var k AdminKey
	err := s.query(ctx, func(db *gorm.DB) error {
		if err := db.Where("digest = ?", digest).Take(&c).Error; err != nil {
			return orNotFound(err)
		}
		return orNotFound(db.Where("id = ?", c.KeyID).Take(&k).Error)
	})
	if err != nil {
		return nil, nil, err
	}
	if now := s.Now(); !c.Live(now) || !k.Usable(now) {
		return nil, nil, ErrNotFound
	}
	return &c, &k, nil
}

// TouchConsoleSession records that a session is used. It writes at most once a minute.
func (s *Store) TouchConsoleSession(ctx context.Context, c *ConsoleSession) error {
	now := s.Now()
	if now.Sub(c.LastActiveAt.Time) < consoleActivity {
		return nil
	}
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("UPDATE console_sessions SET last_active_at = ? WHERE digest = ? AND last_active_at < ?", At(now), c.Digest, At(now)).Error
	})
}

// FlashConsole stores what the next page of a session reports.
func (s *Store) FlashConsole(ctx context.Context, digest []byte, text string) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("UPDATE console_sessions SET flash = ? WHERE digest = ?", text, digest).Error
	})
}

// EndConsoleSession deletes a session. There need not be one.
func (s *Store) EndConsoleSession(ctx context.Context, digest []byte) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("DELETE FROM console_sessions WHERE digest = ?", digest).Error
	})
}

// ErrKeyUnusable is the error of a sign-in link for an admin key that was revoked or has
// expired.
var ErrKeyUnusable = errors.New("the admin key was revoked or has expired")

// consoleLink is the row of a sign-in link. Its code is not stored.
type consoleLink struct {
	Digest    []byte `gorm:"primaryKey"`
	KeyID     string
	ExpiresAt Time
}

// TableName implements gorm's schema.Tabler.
func (consoleLink) TableName() string { return "console_links" }

// CreateConsoleLink stores a sign-in link for an admin key, which can be used once, and
// for ConsoleLinkLife. It returns ErrNotFound if there is no such key, and
// ErrKeyUnusable if the key was revoked or has expired.
func (s *Store) CreateConsoleLink(ctx context.Context, digest []byte, key string, by Actor) (*AdminKey, error) {
	var k AdminKey
	err := s.transaction(ctx, func(tx *gorm.DB) error {
		if err := tx.Where("id = ?", key).Take(&k).Error; err != nil {
			return orNotFound(err)
		}
		now := s.Now()
		if !k.Usable(now) {
			return ErrKeyUnusable
		}
		if err := tx.Create(&consoleLink{Digest: digest, KeyID: k.ID, ExpiresAt: At(now.Add(ConsoleLinkLife))}).Error; err != nil {
			return err
		}
		return insertEvent(tx, s.auditEvent(EventConsoleLinkCreated, "", by, map[string]any{"id": k.ID}))
	})
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// ConsoleLinkKey returns the key of a sign-in link. It returns ErrNotFound if the link
// has been used or has expired, and if the key can no longer be used.
func (s *Store) ConsoleLinkKey(ctx context.Context, digest []byte) (*AdminKey, error) {
	var k AdminKey
	now := s.Now()
	err := s.query(ctx, func(db *gorm.DB) error {
		return orNotFound(db.Where("id = (SELECT key_id FROM console_links WHERE digest = ? AND expires_at > ?)", digest, At(now)).Take(&k).Error)
	})
	if err != nil {
		return nil, err
	}
	if !k.Usable(now) {
		return nil, ErrNotFound
	}
	return &k, nil
}

// pruneConsole deletes one batch of expired sessions and links of the console.
func pruneConsole(tx *gorm.DB, now time.Time) (more bool, err error) {
	for statement, before := range map[string]time.Time{
		"DELETE FROM console_sessions WHERE digest IN (SELECT digest FROM console_sessions WHERE created_at <= ? LIMIT ?)": now.Add(-ConsoleLifetime),
		"DELETE FROM console_links WHERE digest IN (SELECT digest FROM console_links WHERE expires_at < ? LIMIT ?)":        now,
	} {
		done := tx.Exec(statement, At(before), pruneBatch)
		if done.Error != nil {
			return false, done.Error
		}
		more = more || done.RowsAffected == pruneBatch
	}
	return more, nil
}
