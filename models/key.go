package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
)

// SigningKey is a tenant's private key, sealed, and the moments that decide
// its state (DESIGN §4).
type SigningKey struct {
	TenantID    string `gorm:"primaryKey"`
	Kid         string `gorm:"primaryKey"` // RFC 7638 thumbprint
	Algorithm   string
	Sealed      []byte
	RootVersion int64
	CreatedAt   Time
	ActivatesAt Time // signs from then on
	RetiredAt   Time // taken out of service by hand
}

// AddSigningKey adds a key to a tenant's ring.
func (s *Store) AddSigningKey(ctx context.Context, k SigningKey) error {
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if err := touchTenant(tx, k.TenantID, k.CreatedAt.Time); err != nil {
			return err
		}
		return tx.Create(&k).Error
	})
}

// EnsureSigningKey adds k if the newest key of the ring has another algorithm:
// active at once in an empty ring, otherwise announced for so long. Of two
// nodes that try at once one makes the key.
func (s *Store) EnsureSigningKey(ctx context.Context, k SigningKey, announce time.Duration) error {
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if err := touchTenant(tx, k.TenantID, k.CreatedAt.Time); err != nil {
			return err
		}
		var newest SigningKey
		err := translate(tx.Where("tenant_id = ? AND retired_at IS NULL", k.TenantID).Order("activates_at DESC, kid DESC").Take(&newest).Error)
		switch {
		case errors.Is(err, ErrNotFound):
			k.ActivatesAt = k.CreatedAt
		case err != nil:
			return err
		case newest.Algorithm == k.Algorithm:
			return nil
		default:
			k.ActivatesAt = At(k.CreatedAt.Add(announce))
		}
		return tx.Create(&k).Error
	})
}

// SigningKeys lists every key that a tenant ever had, oldest first.
func (s *Store) SigningKeys(ctx context.Context, tenant string) ([]SigningKey, error) {
	var keys []SigningKey
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Where("tenant_id = ?", tenant).Order("activates_at, kid").Find(&keys).Error
	})
	return keys, err
}

// TenantsWithoutKey lists tenants that have no signing key, at most 10.
func (s *Store) TenantsWithoutKey(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT id FROM tenants t WHERE pruned_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM signing_keys k WHERE k.tenant_id = t.id AND k.retired_at IS NULL) LIMIT 10`).Scan(&ids).Error
	})
	return ids, err
}
