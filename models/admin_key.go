package models

import (
	"context"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// AdminKey is the row of a key of the admin API. The key itself is not stored.
type AdminKey struct {
	ID          string `gorm:"primaryKey"` // part of the key, and no secret
	Name        string
	Role        Role
	Tenants     []string `gorm:"serializer:json"` // nil: all
	Digest      []byte
	RootVersion int64
	ParentID    string // the key that made it; empty: the latchkey command did
	CreatedBy   string // for people to read
	CreatedAt   Time
	ExpiresAt   Time // null: never
	LastUsedAt  Time // to the hour; null: never
	RevokedAt   Time // null: it is not
}

// Usable reports whether the key is neither revoked nor expired.
func (k *AdminKey) Usable(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt.Time))
}

// MayUse reports whether the tenant is one of the key's.
func (k *AdminKey) MayUse(tenant string) bool {
	return k.Tenants == nil || slices.Contains(k.Tenants, tenant)
}

// Errors of making and revoking admin keys.
var (
	ErrLastOwner = errors.New("it is the last key of an owner that can be used")
	ErrMaker     = errors.New("the key that makes it was revoked or has expired")
)

// usableKey is the condition that an admin key can be used at the moment that is
// its parameter.
const usableKey = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"

// CreateAdminKey stores a key. A key that another one makes is not stored if that
// one can no longer be used: ErrMaker.
func (s *Store) CreateAdminKey(ctx context.Context, k *AdminKey, by Actor) error {
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if k.ParentID != "" {
			// The row stays locked, so that revoking it with its descendants comes
			// before this or sees the new key.
			var parents []AdminKey
			err := tx.Clauses(clause.Locking{Strength: "NO KEY UPDATE"}).Where("id = ? AND "+usableKey, k.ParentID, At(s.Now())).Find(&parents).Error
			if err != nil {
				return err
			}
			if len(parents) == 0 {
				return ErrMaker
			}
		}
		k.CreatedAt = At(s.Now())
		if err := tx.Create(k).Error; err != nil {
			return err
		}
		return s.audit(tx, by, adminKeyChange(k, Change{Created: true, Fields: []FieldChange{
			{Name: "name", To: jsonText(k.Name)}, {Name: "role", To: jsonText(string(k.Role))}, {Name: "tenants", To: jsonText(k.Tenants)},
			{Name: "expires_at", To: timeText(k.ExpiresAt)},
		}}))
	})
}

// adminKeyChange names the key in a change.
func adminKeyChange(k *AdminKey, c Change) Change {
	c.Noun, c.ID = nounAdminKey, k.ID
	return c
}

// AdminKeys returns the keys in the order in which they were made, revoked and
// expired ones included, at most limit of them after the key with the id `after`.
func (s *Store) AdminKeys(ctx context.Context, after string, limit int) ([]AdminKey, error) {
	var keys []AdminKey
	err := s.query(ctx, func(db *gorm.DB) error {
		q := db.Order("created_at, id").Limit(limit)
		if after != "" {
			q = q.Where("(created_at, id) > (SELECT created_at, id FROM admin_keys WHERE id = ?)", after)
		}
		return q.Find(&keys).Error
	})
	return keys, err
}

// AdminKey returns a key, whether or not it can be used. ErrNotFound: no key has
// the id.
func (s *Store) AdminKey(ctx context.Context, id string) (*AdminKey, error) {
	var k AdminKey
	err := s.query(ctx, func(db *gorm.DB) error { return orNotFound(db.Where("id = ?", id).Take(&k).Error) })
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// RevokeAdminKey revokes a key and, if asked to, every key that it made, directly
// or not. It returns the ids of those that it revoked. Unless `last` is true, some
// key of an owner must remain: ErrLastOwner. ErrNotFound: there is no such key.
func (s *Store) RevokeAdminKey(ctx context.Context, id string, descendants, last bool, by Actor) (revoked []string, err error) {
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		revoked = nil
		// All keys are locked, in one order: two owners who revoke each other come
		// one after the other. There are few keys.
		var keys []AdminKey
		if err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).Order("id").Find(&keys).Error; err != nil {
			return err
		}
		if !slices.ContainsFunc(keys, func(k AdminKey) bool { return k.ID == id }) {
			return ErrNotFound
		}
		ending := map[string]bool{id: true}
		for grown := descendants; grown; {
			grown = false
			for _, k := range keys {
				if k.ParentID != "" && ending[k.ParentID] && !ending[k.ID] {
					ending[k.ID], grown = true, true
				}
			}
		}
		now := s.Now()
		owners, ended := 0, false
		for _, k := range keys {
			switch usable := k.Usable(now) && k.Role == RoleOwner; {
			case usable && ending[k.ID]:
				ended = true
			case usable:
				owners++
			}
		}
		if ended && owners == 0 && !last {
			return ErrLastOwner
		}
		for _, k := range keys {
			if !ending[k.ID] || !k.RevokedAt.IsZero() {
				continue
			}
			if err := tx.Exec("UPDATE admin_keys SET revoked_at = ? WHERE id = ?", At(now), k.ID).Error; err != nil {
				return err
			}
			if err := s.audit(tx, by, adminKeyChange(&k, Change{Removed: true})); err != nil {
				return err
			}
			revoked = append(revoked, k.ID)
		}
		return nil
	})
	return revoked, err
}

// UseAdminKey records that a key was used, once an hour.
func (s *Store) UseAdminKey(ctx context.Context, k *AdminKey, now time.Time) error {
	hour := now.Truncate(time.Hour)
	if !k.LastUsedAt.Before(hour) {
		return nil
	}
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("UPDATE admin_keys SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)", At(hour), k.ID, At(hour)).Error
	})
}

// RenewAdminKey stores the digest of a key under another root secret, unless it
// has changed meanwhile.
func (s *Store) RenewAdminKey(ctx context.Context, k *AdminKey, d Digest) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("UPDATE admin_keys SET digest = ?, root_version = ? WHERE id = ? AND root_version = ?"+underEarlierRoot("root_version"),
			d.Digest, d.RootVersion, k.ID, k.RootVersion, d.RootVersion).Error
	})
}

// AddAdminFailure writes the event of an admin key that was sent after it was revoked
// or had expired.
func (s *Store) AddAdminFailure(ctx context.Context, id, ip string) error {
	return s.AddEvent(ctx, Event{At: s.Now(), Type: EventAdminKeyRefused, Details: map[string]any{"key": id, "ip": ip}})
}
