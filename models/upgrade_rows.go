package models

import (
	"context"

	"gorm.io/gorm"
)

// upgradeRows completes rows that an earlier release wrote: it gives trusted
// issuers an id, and previous secrets an end. That release may still be
// running, so this is not part of a migration.
func (s *Store) upgradeRows(ctx context.Context) error {
	var tenants []string
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT DISTINCT tenant_id FROM trusted_issuers WHERE entry_id IS NULL AND removed_at IS NULL").Scan(&tenants).Error
	})
	if err != nil {
		return err
	}
	for _, tenant := range tenants {
		if err := s.longTransaction(ctx, func(tx *gorm.DB) error { return s.nameEntriesOf(tx, tenant) }); err != nil {
			return err
		}
	}
	return s.EndPreviousSecrets(ctx)
}

func (s *Store) nameEntriesOf(tx *gorm.DB, tenant string) error {
	if _, _, err := lockTenant(tx, tenant, s.Now()); err != nil {
		return err
	}
	var rows []TrustedIssuer
	if err := tx.Where("tenant_id = ? AND removed_at IS NULL", tenant).Order("created_at, id").Find(&rows).Error; err != nil {
		return err
	}
	return writeEntryIDs(tx, nameEntries(rows))
}

// EndPreviousSecrets sets the end of previous secrets that have none, because
// an earlier release wrote them.
func (s *Store) EndPreviousSecrets(ctx context.Context) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("UPDATE clients SET previous_secret_until = ? WHERE length(previous_secret_digest) > 0 AND previous_secret_until IS NULL",
			At(s.Now().Add(previousFor))).Error
	})
}
