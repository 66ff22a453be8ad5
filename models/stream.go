package models

import (
	"context"

	"gorm.io/gorm"
)

// DisableStream stops a destination at the request of its receiver. Nothing is sent
// until EnableStream. ErrNotFound: there is no such destination.
func (s *Store) DisableStream(ctx context.Context, key DestinationKey, reason string, by Actor) error {
	return s.changeDestination(ctx, key.Tenant, key.ID, func(tx *gorm.DB, row *Destination) error {
		if !row.DisabledAt.IsZero() {
			return nil
		}
		row.DisabledAt, row.DisabledCause = At(s.Now()), reason
		return s.audit(tx, by, Change{Tenant: key.Tenant, Kind: KindDestination, ID: key.ID, Act: "disabled", Reason: reason})
	})
}

// EnableStream lets a destination that is disabled get the events from now on. It
// never gets those that happened meanwhile (SSF 1.0 §8.1.2.1). ErrNotFound: there is
// no such destination.
func (s *Store) EnableStream(ctx context.Context, key DestinationKey, by Actor) error {
	return s.changeDestination(ctx, key.Tenant, key.ID, func(tx *gorm.DB, row *Destination) error {
		if row.DisabledAt.IsZero() {
			return nil
		}
		row.DisabledAt, row.DisabledCause = Time{}, ""
		if err := raiseRevision(tx, key); err != nil {
			return err
		}
		from := EventFrom(s.Now())
		err := tx.Exec("UPDATE event_destination_states SET told_to = ?, accepted = NULL, failing_since = NULL, last_error = '' WHERE tenant_id = ? AND destination_id = ?",
			from[:], key.Tenant, key.ID).Error
		if err != nil {
			return err
		}
		err = tx.Exec("DELETE FROM event_deliveries WHERE tenant_id = ? AND destination_id = ? AND dead_at IS NULL", key.Tenant, key.ID).Error
		if err != nil {
			return err
		}
		return s.audit(tx, by, Change{Tenant: key.Tenant, Kind: KindDestination, ID: key.ID, Act: "enabled"})
	})
}
