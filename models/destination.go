package models

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// Destination is an event destination of a tenant, as it is stored.
type Destination struct {
	TenantID string                       `gorm:"primaryKey"`
	ID       string                       `gorm:"primaryKey"`
	Settings settings.DestinationSettings `gorm:"serializer:json"`

	SealedSecret  []byte // NULL: none
	RootVersion   int64
	SealedOld     []byte // the secret before, which signs as well until OldUntil
	OldRoot       int64
	OldUntil      Time
	CreatedAt     Time
	UpdatedAt     Time
	SecretSetAt   Time
	DisabledAt    Time // when the receiver answered 410; NULL: it is not disabled
	DisabledCause string
}

// TableName implements GORM's Tabler.
func (Destination) TableName() string { return "event_destinations" }

// Active reports whether events are sent to the destination.
func (d *Destination) Active() bool { return d.Status() == StreamEnabled }

// The statuses of a destination (SSF 1.0 §8.1.2.1).
const (
	StreamEnabled  = "enabled"
	StreamPaused   = "paused"
	StreamDisabled = "disabled"
)

// Status returns the status of the destination.
func (d *Destination) Status() string {
	switch {
	case !d.DisabledAt.IsZero():
		return StreamDisabled
	case d.Settings.Paused:
		return StreamPaused
	}
	return StreamEnabled
}

// noteStatus lets an event stream know that its status is no longer `before`, unless
// its own client has changed it (SSF 1.0 §8.1.5).
func noteStatus(tx *gorm.DB, d *Destination, before string, by Actor, now time.Time) error {
	if d.Settings.Type == settings.DestinationWebhook || by.Role == RoleClient || d.Status() == before {
		return nil
	}
	id := EventFrom(now)
	rand.Read(id[8:])
	err := insertEvent(tx, Event{
		At: now, TenantID: d.TenantID, Type: EventStreamUpdated, id: &id,
		Details: map[string]any{"destination": d.ID, "status": d.Status(), "reason": "an operator has changed the status"},
	})
	if err != nil {
		return err
	}
	key := DestinationKey{d.TenantID, d.ID}
	if err := putDelivery(tx, Delivery{DestinationKey: key, Event: id, Type: DeliveredStatus, NextAt: now}); err != nil {
		return err
	}
	return raiseRevision(tx, key) // the node that delivers reads the row
}

// MayNameUsers reports whether a destination may get events that name users.
func (d *Destination) MayNameUsers() bool {
	families := []string{"session.", "client_token.", "config.changed"}
	if d.Settings.Type != settings.DestinationWebhook { // security events are about sessions
		families = families[:1]
	}
	if len(d.Settings.Events) == 0 {
		return true
	}
	return slices.ContainsFunc(d.Settings.Events, func(pattern string) bool {
		return slices.ContainsFunc(families, func(family string) bool {
			return strings.HasPrefix(pattern, family) || strings.HasSuffix(pattern, ".") && strings.HasPrefix(family, pattern)
		})
	})
}

// KindDestination is the kind of an event destination in a Change and in a Ref.
const KindDestination = "destination"

// OldSecretFor is how long a replaced secret still signs webhooks, so that a receiver
// has the time to change over.
const OldSecretFor = 24 * time.Hour

// destinationPlan is the planned change of one event destination.
type destinationPlan struct {
	want          settings.DestinationSpec
	row           Destination
	created       bool
	before, after settings.Document
	settings      settings.DestinationSettings // after
}

// planDestinations plans the changes of a tenant's event destinations.
func (a *applier) planDestinations(p *tenantPlan) error {
	docs, err := a.documents("event_destinations", p.want.ID)
	if err != nil {
		return err
	}
	var rows []Destination
	if err := a.tx.Where("tenant_id = ?", p.want.ID).Order("id").Find(&rows).Error; err != nil {
		return err
	}
	byID := map[string]Destination{}
	for _, row := range rows {
		byID[row.ID] = row
		if slices.ContainsFunc(p.want.EventDestinations, func(d settings.DestinationSpec) bool { return d.ID == row.ID }) {
			continue
		}
		ref := Ref{KindDestination, p.want.ID, row.ID}
		spec := settings.DestinationSpec{ID: row.ID, DestinationSettings: row.Settings, SecretStored: row.SealedSecret != nil}
		spec.Place = settings.Place{Path: p.want.Path + `.event_destinations["` + row.ID + `"]`, Stored: true}
		p.earlier.EventDestinations = append(p.earlier.EventDestinations, spec)
		if slices.Contains(a.o.Remove, ref) {
			if err := a.precondition(true, func() string { return destinationVersion(row, docs[row.ID]) }); err != nil {
				return err
			}
		}
		if a.removes(ref) {
			p.removed = append(p.removed, row)
		} else {
			p.merged.EventDestinations = append(p.merged.EventDestinations, spec)
		}
	}
	for _, want := range p.want.EventDestinations {
		plan := &destinationPlan{want: want, row: byID[want.ID], before: docs[want.ID]}
		plan.created = plan.row.ID == ""
		if err := a.precondition(!plan.created, func() string { return destinationVersion(plan.row, plan.before) }); err != nil {
			return err
		}
		if plan.created {
			plan.before = settings.Document{}
			plan.row = Destination{TenantID: p.want.ID, ID: want.ID, CreatedAt: At(a.now)}
		}
		written, err := settings.NewDocument(want.DestinationSettings, want.Written)
		if err != nil {
			return err
		}
		plan.after = a.mergeDocument(plan.before, written)
		if err := plan.after.Decode(&plan.settings); err != nil {
			return err
		}
		p.destinations = append(p.destinations, plan)
		merged := want
		merged.DestinationSettings = plan.settings
		merged.SecretStored = plan.row.SealedSecret != nil && a.secretGiven(want.Place, want.Secret == "", "secret", "secret_file") == settings.Absent
		p.merged.EventDestinations = append(p.merged.EventDestinations, merged)
	}
	return nil
}

// writeDestination writes the planned change.
func (a *applier) writeDestination(tenant string, p *destinationPlan) error {
	fields, err := diff(p.created, p.before, p.after)
	if err != nil {
		return err
	}
	row := &p.row
	if secret, changed := a.destinationSecret(p); changed {
		a.store.setDestinationSecret(a.secrets, row, secret, a.now, OldSecretFor)
		fields = append(fields, FieldChange{Name: "secret"})
	}
	if !a.record(p.created, tenant, KindDestination, row.ID, fields) {
		return nil
	}
	before := row.Status()
	if !row.DisabledAt.IsZero() && !p.want.KeepDisabled { // whoever changes it wants it to work
		row.DisabledAt, row.DisabledCause = Time{}, ""
	}
	retyped := !p.created && row.Settings.Type != p.settings.Type
	row.Settings, row.UpdatedAt = p.settings, row.changedAt(a.now)
	if err := a.tx.Save(row).Error; err != nil {
		return err
	}
	if !p.created && !retyped {
		if err := noteStatus(a.tx, row, before, a.o.Actor, a.now); err != nil {
			return err
		}
	}
	if p.created {
		if err := insertDeliveryState(a.tx, tenant, row.ID, EventFrom(a.now)); err != nil {
			return err
		}
	}
	if retyped { // the node that delivers must not write over what a poll has stored
		if err := raiseRevision(a.tx, DestinationKey{tenant, row.ID}); err != nil {
			return err
		}
	}
	return a.writeDocument("event_destinations", tenant, row.ID, p.after)
}

// destinationSecret returns the secret that is to be stored, and whether it differs
// from the stored one.
func (a *applier) destinationSecret(p *destinationPlan) (secret string, changed bool) {
	switch given := a.secretGiven(p.want.Place, p.want.Secret == "", "secret", "secret_file"); {
	case p.settings.Type == settings.DestinationPoll, given == settings.Null:
		return "", p.row.SealedSecret != nil
	case given == settings.Absent:
		return "", false
	}
	stored, err := a.secrets.OpenDestinationSecret(p.row.TenantID, p.row.ID, p.row.SealedSecret, p.row.RootVersion)
	return p.want.Secret, p.row.SealedSecret == nil || err != nil || stored != p.want.Secret
}

// setDestinationSecret replaces the secret of a row; empty: it has none. The one before
// signs for `old` longer.
func (s *Store) setDestinationSecret(secrets Secrets, row *Destination, secret string, now time.Time, old time.Duration) {
	row.SealedOld, row.OldRoot, row.OldUntil = nil, 0, Time{}
	if row.SealedSecret != nil && secret != "" && old > 0 {
		row.SealedOld, row.OldRoot, row.OldUntil = row.SealedSecret, row.RootVersion, At(now.Add(old))
	}
	row.SealedSecret, row.RootVersion, row.SecretSetAt = nil, 0, At(now)
	if secret != "" {
		row.SealedSecret, row.RootVersion = secrets.SealDestinationSecret(row.TenantID, row.ID, secret)
	}
}

// pruneDestinations removes destinations with what waits for them.
func (a *applier) pruneDestinations(rows []Destination) error {
	for _, row := range rows {
		for _, table := range []string{"event_deliveries", "event_destination_states"} {
			if err := a.tx.Exec("DELETE FROM "+table+" WHERE tenant_id = ? AND destination_id = ?", row.TenantID, row.ID).Error; err != nil {
				return err
			}
		}
		if err := a.tx.Exec("DELETE FROM event_destinations WHERE tenant_id = ? AND id = ?", row.TenantID, row.ID).Error; err != nil {
			return err
		}
		a.changes = append(a.changes, Change{Removed: true, Tenant: row.TenantID, Kind: KindDestination, ID: row.ID})
	}
	return nil
}

// ReplaceDestinationSecret gives a webhook another secret. The one before signs as
// well for `old`. ErrNotFound: there is no such destination.
func (s *Store) ReplaceDestinationSecret(ctx context.Context, secrets Secrets, tenant, id, secret string, old time.Duration, by Actor) error {
	return s.changeDestination(ctx, tenant, id, func(tx *gorm.DB, row *Destination) error {
		s.setDestinationSecret(secrets, row, secret, s.Now(), old)
		return s.audit(tx, by, Change{Tenant: tenant, Kind: KindDestination, ID: id, Fields: []FieldChange{{Name: "secret"}}})
	})
}

// EnableDestination lets events be sent again to a destination that was disabled.
// ErrNotFound: there is no such destination.
func (s *Store) EnableDestination(ctx context.Context, tenant, id string, by Actor) error {
	return s.changeDestination(ctx, tenant, id, func(tx *gorm.DB, row *Destination) error {
		if row.DisabledAt.IsZero() {
			return nil
		}
		row.DisabledAt, row.DisabledCause = Time{}, ""
		if err := noteStatus(tx, row, StreamDisabled, by, s.Now()); err != nil {
			return err
		}
		return s.audit(tx, by, Change{Tenant: tenant, Kind: KindDestination, ID: id, Act: "enabled"})
	})
}

// DisableDestination stops deliveries to a destination whose receiver wants no more
// events. ErrNotFound: there is no such destination.
func (s *Store) DisableDestination(ctx context.Context, tenant, id, cause string, by Actor) error {
	return s.changeDestination(ctx, tenant, id, func(tx *gorm.DB, row *Destination) error {
		if !row.DisabledAt.IsZero() {
			return nil
		}
		row.DisabledAt, row.DisabledCause = At(s.Now()), cause
		return s.audit(tx, by, Change{Tenant: tenant, Kind: KindDestination, ID: id, Act: "disabled", Reason: cause})
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

// changedAt returns the time to store for a change. It is later than that of the previous
// change, even if a node with a faster clock made that one.
func (d *Destination) changedAt(now time.Time) Time {
	if next := d.UpdatedAt.Add(time.Microsecond); now.Before(next) {
		return At(next)
	}
	return At(now)
}

func (s *Store) changeDestination(ctx context.Context, tenant, id string, change func(tx *gorm.DB, row *Destination) error) error {
	return s.longTransaction(ctx, func(tx *gorm.DB) error {
		if _, _, err := lockExistingTenant(tx, tenant, s.Now()); err != nil {
			return err
		}
		var row Destination
		if err := tx.Where("tenant_id = ? AND id = ?", tenant, id).Take(&row).Error; err != nil {
			return orNotFound(err)
		}
		if err := change(tx, &row); err != nil {
			return err
		}
		return tx.Exec(`UPDATE event_destinations SET sealed_secret = ?, root_version = ?, sealed_old = ?, old_root = ?, old_until = ?, secret_set_at = ?,
			disabled_at = ?, disabled_cause = ?, updated_at = ? WHERE tenant_id = ? AND id = ?`,
			row.SealedSecret, row.RootVersion, row.SealedOld, row.OldRoot, row.OldUntil, row.SecretSetAt,
			row.DisabledAt, row.DisabledCause, row.changedAt(s.Now()), tenant, id).Error
	})
}

// Destinations returns the event destinations of every tenant that is enabled.
func (s *Store) Destinations(ctx context.Context) (rows []Destination, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		return db.Where("tenant_id IN (SELECT id FROM tenants WHERE pruned_at IS NULL)").Order("tenant_id, id").Find(&rows).Error
	})
	return rows, err
}

// Destination returns one event destination. ErrNotFound: the tenant has none with the
// id.
func (s *Store) Destination(ctx context.Context, tenant, id string) (*Destination, error) {
	var row Destination
	err := s.query(ctx, func(db *gorm.DB) error {
		return orNotFound(db.Where("tenant_id = ? AND id = ?", tenant, id).Take(&row).Error)
	})
	return &row, err
}

// StoredDestination is an event destination as an operator sees it.
type StoredDestination struct {
	Row      Destination
	Settings settings.Document
	Managed  bool
}

// Version changes whenever the destination's settings, secret or state do.
func (d *StoredDestination) Version() string { return destinationVersion(d.Row, d.Settings) }

func destinationVersion(row Destination, doc settings.Document) string {
	return version(doc.WithoutNull(), row.SecretSetAt, row.DisabledAt)
}

// StoredDestinations returns the event destinations of a tenant by id, and whether
// there are more.
func (s *Store) StoredDestinations(ctx context.Context, tenant string, p Page) (list []StoredDestination, more bool, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		// One statement reads both, so that the version is that of the row's settings.
		var rows []struct {
			Row      Destination       `gorm:"embedded"`
			Document settings.Document `gorm:"serializer:json"`
		}
		err := db.Table("event_destinations").Select("*, settings AS document").Where("tenant_id = ? AND id > ?", tenant, p.After).Order("id").Find(&rows).Error
		if err != nil {
			return err
		}
		managed, err := managedIDs(db, tenant, KindDestination)
		list = nil
		for _, r := range rows {
			if p.Match == "" || strings.Contains(r.Row.ID, p.Match) || strings.Contains(r.Row.Settings.URL, p.Match) {
				list = append(list, StoredDestination{r.Row, r.Document.WithoutNull(), managed[r.Row.ID]})
			}
		}
		return err
	})
	list, more = truncate(list, p.Limit)
	return list, more, err
}

// StoredDestination returns one event destination. ErrNotFound: the tenant has none
// with the id.
func (s *Store) StoredDestination(ctx context.Context, tenant, id string) (*StoredDestination, error) {
	list, _, err := s.StoredDestinations(ctx, tenant, Page{Limit: 1 << 20})
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(list, func(d StoredDestination) bool { return d.Row.ID == id })
	if at < 0 {
		return nil, ErrNotFound
	}
	return &list[at], nil
}
