package models

import (
	"context"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// AdminKey is the row of an admin key. The key itself is not stored.
type AdminKey struct {
	ID          string `gorm:"primaryKey"` // part of the key, but not secret
	Name        string
	Role        Role
	Tenants     []string `gorm:"serializer:json"` // nil: all
	Digest      []byte
	RootVersion int64
	ParentID    string // the id of the key that made it; empty: a command made it
	CreatedBy   string // for people to read
	CreatedAt   Time
	ExpiresAt   Time // null: never
	LastUsedAt  Time // to the hour; null: never
	RevokedAt   Time // null: not revoked
}

// Usable reports whether the key is neither revoked nor expired.
func (k *AdminKey) Usable(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt.Time))
}

// MayUse reports whether the key is valid for the tenant.
func (k *AdminKey) MayUse(tenant string) bool {
	return k.Tenants == nil || slices.Contains(k.Tenants, tenant)
}

// Errors of creating and revoking admin keys.
var (
	ErrLastOwner = errors.New("it is the last usable key with the role owner")
	ErrMaker     = errors.New("the key that makes it was revoked or has expired")
)

// usableKey is the SQL condition for a key that is neither revoked nor expired. Its
// parameter is the time.
const usableKey = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"

// CreateAdminKey stores a key. It returns ErrMaker if the parent key was revoked or has
// expired.
func (s *Store) CreateAdminKey(ctx context.Context, k *AdminKey, by Actor) error {
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if k.ParentID != "" {
			// With the row locked, a revocation of the parent and its descendants
			// either comes first or includes the new key.
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

// adminKeyChange sets the kind and the id of a change to those of the key.
func adminKeyChange(k *AdminKey, c Change) Change {
	c.Kind, c.ID = kindAdminKey, k.ID
	return c
}

// AdminKeys returns at most limit keys in the order of their creation, including
// revoked and expired keys. They begin after the key with the id `after`.
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

// AdminKey returns a key, also if it was revoked or has expired. It returns ErrNotFound
// if no key has the id.
func (s *Store) AdminKey(ctx context.Context, id string) (*AdminKey, error) {
	var k AdminKey
	err := s.query(ctx, func(db *gorm.DB) error { return orNotFound(db.Where("id = ?", id).Take(&k).Error) })
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// RevokeAdminKey revokes a key and, if descendants is true, every key that was made
// with it, directly or through another key. It returns the ids of the keys that it
// revoked. Unless `last` is true, it returns ErrLastOwner if no usable key with the
// role owner would remain. It returns ErrNotFound if there is no such key.
func (s *Store) RevokeAdminKey(ctx context.Context, id string, descendants, last bool, by Actor) (revoked []string, err error) {
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		revoked = nil
		// Locking all keys in the same order makes two owners who revoke each other
		// run one after the other. There are few keys.
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

// UseAdminKey records that a key was used. It writes at most once an hour.
func (s *Store) UseAdminKey(ctx context.Context, k *AdminKey, now time.Time) error {
	hour := now.Truncate(time.Hour)
	if !k.LastUsedAt.Before(hour) {
		return nil
	}
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("UPDATE admin_keys SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)", At(hour), k.ID, At(hour)).Error
	})
}

// RenewAdminKey stores the digest of a key under another root secret, unless another
// node has already done so.
func (s *Store) RenewAdminKey(ctx context.Context, k *AdminKey, d Digest) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("UPDATE admin_keys SET digest = ?, root_version = ? WHERE id = ? AND root_version = ?"+underEarlierRoot("root_version"),
			d.Digest, d.RootVersion, k.ID, k.RootVersion, d.RootVersion).Error
	})
}

// AddAdminFailure writes the event of a request with a revoked or expired admin key.
func (s *Store) AddAdminFailure(ctx context.Context, id, ip string) error {
	return s.AddEvent(ctx, Event{At: s.Now(), Type: EventAdminKeyRefused, Details: map[string]any{"key": id, "ip": ip}})
}
