package models

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// SigningKey is a tenant's private key, sealed, with the times that decide its
// state (docs/operations.md, Signing keys).
type SigningKey struct {
	TenantID    string `gorm:"primaryKey"`
	Kid         string `gorm:"primaryKey"` // RFC 7638 thumbprint
	Algorithm   string
	Sealed      []byte // empty once retired
	RootVersion int64
	CreatedAt   Time
	ActivatesAt Time // signs from then on
	RetiredAt   Time // out of service; the private part is deleted
}

// DefaultKeyRotation is the age of a key at which the next one starts to sign,
// unless the tenant sets another.
const DefaultKeyRotation = 90 * 24 * time.Hour

// ChangeKeyRing changes a tenant's keys. fn is given those in service, in the
// order in which they activate, and returns the keys to write, old or new.
// Concurrent changes run one after the other. It returns ErrNotFound if there
// is no such tenant. The event is written if there is a change.
func (s *Store) ChangeKeyRing(ctx context.Context, tenant string, now time.Time, tell Event, fn func(ring []SigningKey) ([]SigningKey, error)) error {
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if err := touchTenant(tx, tenant, now); err != nil {
			return err
		}
		var ring []SigningKey
		if err := tx.Where("tenant_id = ? AND retired_at IS NULL", tenant).Order("activates_at, kid").Find(&ring).Error; err != nil {
			return err
		}
		changed, err := fn(ring)
		if err != nil {
			return err
		}
		for _, k := range changed {
			if err := tx.Save(&k).Error; err != nil {
				return err
			}
		}
		if len(changed) == 0 {
			return nil
		}
		tell.At, tell.TenantID = now, tenant
		return insertEvent(tx, tell)
	})
}

// KeyEvent is the event of a change of a tenant's keys.
func KeyEvent(what EventType, kid string, by Actor) Event {
	return Event{Type: what, Details: map[string]any{"kid": kid, "actor": by.details()}}
}

// SigningKeys lists every key that a tenant has ever had, oldest first.
func (s *Store) SigningKeys(ctx context.Context, tenant string) ([]SigningKey, error) {
	var keys []SigningKey
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Where("tenant_id = ?", tenant).Order("activates_at, kid").Find(&keys).Error
	})
	return keys, err
}

// KeyDue is a tenant that needs a new key, with its newest one.
type KeyDue struct {
	TenantID, Algorithm string
	Newest              string // kid; empty if the tenant has no key
	NewestAlgorithm     string
}

// KeysDue lists the tenants that have no key, or whose newest key has another
// algorithm or, at the given time, will have reached the tenant's rotation age.
func (s *Store) KeysDue(ctx context.Context, by time.Time) ([]KeyDue, error) {
	var due []KeyDue
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT t.id AS tenant_id, t.signing_algorithm AS algorithm, COALESCE(k.kid, '') AS newest, COALESCE(k.algorithm, '') AS newest_algorithm
			FROM tenants t LEFT JOIN signing_keys k ON k.tenant_id = t.id AND k.retired_at IS NULL AND NOT EXISTS (
				SELECT 1 FROM signing_keys n WHERE n.tenant_id = t.id AND n.retired_at IS NULL
					AND (n.activates_at > k.activates_at OR n.activates_at = k.activates_at AND n.kid > k.kid))
			WHERE t.pruned_at IS NULL AND (k.kid IS NULL OR k.algorithm <> t.signing_algorithm
				OR COALESCE(t.key_rotation, @Rotation) > 0 AND k.activates_at + COALESCE(t.key_rotation, @Rotation) <= @By)
			ORDER BY t.id`, struct {
			Rotation settings.Duration
			By       Time
		}{settings.Duration(DefaultKeyRotation), At(by)}).Scan(&due).Error
	})
	return due, err
}

// ExpireSigningKeys deletes the private part of keys whose last token has
// expired: a newer key has been signing for longer than any token lives.
func (s *Store) ExpireSigningKeys(ctx context.Context, now time.Time) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec(`UPDATE signing_keys SET retired_at = ?, sealed = ? WHERE retired_at IS NULL AND EXISTS (
			SELECT 1 FROM signing_keys n WHERE n.tenant_id = signing_keys.tenant_id AND n.retired_at IS NULL
				AND n.activates_at > signing_keys.activates_at AND n.activates_at < ?)`,
			At(now), []byte{}, At(now.Add(-session.Retention))).Error
	})
}

// TenantsWithoutKey lists at most 10 tenants that have no signing key.
func (s *Store) TenantsWithoutKey(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT id FROM tenants t WHERE pruned_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM signing_keys k WHERE k.tenant_id = t.id AND k.retired_at IS NULL) LIMIT 10`).Scan(&ids).Error
	})
	return ids, err
}
