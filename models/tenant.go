package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/latchkey/latchkey/settings"
)

// Tenant is the row of a tenant. Settings that statements or earlier releases
// use are columns as well.
type Tenant struct {
	ID                   string            `gorm:"primaryKey"`
	Settings             settings.Document `gorm:"serializer:json"` // as written; null: an earlier release wrote the row
	SigningAlgorithm     string
	KeyRotation          *settings.Duration  // nil: DefaultKeyRotation
	ACR                  []settings.ACRClass `gorm:"column:acr;serializer:json"`
	StoreDevice          bool                // store device name, user agent and address of sessions
	UserRetention        *settings.Duration  // nil or none: forever
	EventRetention       *settings.Duration  // nil: settings.EventRetention
	SearchableAttributes []string            `gorm:"serializer:json"` // names
	ForgetDevicesAt      Time                // from then on, stored device data is cleared; null: it has been
	Disabled             bool
	SuspendedAt          Time // suspended by an operator, whatever its configuration contains
	SessionsValidFrom    Time // sessions created before are rejected
	PrunedAt             Time // removed; its id is never accepted again
	Revision             int64
	CreatedAt            Time
	UpdatedAt            Time
}

// Enabled reports whether the tenant is neither disabled nor suspended.
func (t Tenant) Enabled() bool { return !t.Disabled && t.SuspendedAt.IsZero() }

// TenantConfig is everything that a node needs to serve a tenant.
type TenantConfig struct {
	Tenant
	Clients []Client
	Issuers []TrustedIssuer
	Keys    []SigningKey // not retired
}

// TenantConfig reads a tenant with its clients, issuers and keys. It includes
// disabled ones but not removed ones. It returns ErrNotFound for a pruned
// tenant.
func (s *Store) TenantConfig(ctx context.Context, id string) (*TenantConfig, error) {
	var c TenantConfig
	err := s.query(ctx, func(db *gorm.DB) error {
		if err := db.Where("id = ? AND pruned_at IS NULL", id).Take(&c.Tenant).Error; err != nil {
			return err
		}
		if err := db.Where("tenant_id = ? AND removed_at IS NULL", id).Order("id").Find(&c.Clients).Error; err != nil {
			return err
		}
		if err := db.Where("tenant_id = ? AND removed_at IS NULL", id).Order("created_at, id").Find(&c.Issuers).Error; err != nil {
			return err
		}
		nameEntries(c.Issuers)
		return db.Where("tenant_id = ? AND retired_at IS NULL", id).Order("activates_at, kid").Find(&c.Keys).Error
	})
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// TenantRevisions returns how often each tenant has been changed. A node
// compares that with what it has loaded.
func (s *Store) TenantRevisions(ctx context.Context) (map[string]int64, error) {
	var rows []struct {
		ID       string
		Revision int64
	}
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT id, revision FROM tenants WHERE pruned_at IS NULL").Scan(&rows).Error
	})
	revisions := map[string]int64{}
	for _, row := range rows {
		revisions[row.ID] = row.Revision
	}
	return revisions, err
}

// lockTenant locks the tenant's row for the rest of the transaction, and
// creates it if there is none, so that of two concurrent changes the second
// sees the first. New users and sessions do not wait for the lock.
func lockTenant(tx *gorm.DB, id string, now time.Time) (row *Tenant, created bool, err error) {
	take := func() (*Tenant, error) {
		var row Tenant
		err := tx.Clauses(clause.Locking{Strength: "NO KEY UPDATE"}).Where("id = ?", id).Take(&row).Error
		return &row, orNotFound(err)
	}
	if row, err = take(); !errors.Is(err, ErrNotFound) {
		return row, false, err
	}
	done := tx.Exec(`INSERT INTO tenants (id, signing_algorithm, store_device, disabled, revision, created_at, updated_at)
		VALUES (@ID, '', @True, @False, 0, @Now, @Now) ON CONFLICT DO NOTHING`, struct {
		ID          string
		True, False bool
		Now         Time
	}{id, true, false, At(now)})
	if done.Error != nil {
		return nil, false, done.Error
	}
	row, err = take()
	return row, done.RowsAffected == 1, err
}

// lockExistingTenant is lockTenant, and returns ErrNotFound if there is no tenant.
func lockExistingTenant(tx *gorm.DB, id string, _ time.Time) (row *Tenant, created bool, err error) {
	row = &Tenant{}
	err = tx.Clauses(clause.Locking{Strength: "NO KEY UPDATE"}).Where("id = ? AND pruned_at IS NULL", id).Take(row).Error
	return row, false, orNotFound(err)
}

// touchTenant locks the tenant's row for the rest of the transaction and
// increments its revision, by which every node notices the change.
func touchTenant(tx *gorm.DB, id string, now time.Time) error {
	done := tx.Exec("UPDATE tenants SET revision = revision + 1, updated_at = ? WHERE id = ? AND pruned_at IS NULL", At(now), id)
	if done.Error == nil && done.RowsAffected == 0 {
		return ErrNotFound
	}
	return done.Error
}
