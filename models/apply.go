package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// Secrets is the part of the keys derived from the root secret that Apply uses.
type Secrets interface {
	DigestClientSecret(tenant, client, secret string) Digest
	MatchClientSecret(tenant, client, secret string, stored Digest) bool
	SealIssuerSecret(tenant, issuer, secret string) (sealed []byte, rootVersion int64)
	MatchIssuerSecret(tenant, issuer, secret string, sealed []byte, rootVersion int64) bool
	SealDestinationSecret(tenant, destination, secret string) (sealed []byte, rootVersion int64)
	OpenDestinationSecret(tenant, destination string, sealed []byte, rootVersion int64) (secret string, err error)
	SuspensionSecrets
}

// errDryRun rolls back the transaction of a dry run.
var errDryRun = errors.New("dry run")

// ApplyOptions are the options of Apply.
type ApplyOptions struct {
	DryRun  bool // change nothing, and report what would change
	Replace bool // make each named object exactly as wanted, keeping no stored keys
	Prune   bool // remove tenants, clients and trusted issuers that are not wanted

	PruneInside bool  // Prune removes no tenant, only what is in those that are wanted
	Remove      []Ref // remove these, which are not wanted either
	KeepSecrets bool  // a secret that is left out stays as it is stored, even with Replace

	// Precondition is called before the only object that is wanted is changed, with its
	// version, or with an empty one if it does not exist. Its error is returned, and
	// nothing is changed. It may be nil.
	Precondition func(version string) error

	// Validate checks the tenants as they will be: what is wanted, merged with
	// what is stored. The default is ValidateTenants without a base issuer.
	Validate func([]settings.TenantSpec) settings.Faults

	// ClientNotes returns warnings about the clients of such a tenant, by their ids.
	// They become notes of the changes of these clients. It may be nil.
	ClientNotes func(settings.TenantSpec) map[string][]string

	// File is the version of the configuration file. If its revision is higher
	// than the stored one, Apply stores it.
	File *File

	// Actor is who applies, for the audit events.
	Actor Actor

	// ServeFile marks the wanted configuration as the file of serve. The file
	// then owns the objects and attributes that it names.
	ServeFile bool
}

// Apply changes tenants, clients, trusted issuers and users to match wanted, in
// one transaction, and returns the changes. Objects that wanted does not name
// stay as they are unless o.Prune is set. Keys that an object leaves out keep
// their stored values unless o.Replace is set. Applying the same configuration
// again changes nothing. If the result is invalid, Apply returns
// settings.Faults and changes nothing.
func (s *Store) Apply(ctx context.Context, wanted []settings.TenantSpec, secrets Secrets, o ApplyOptions) ([]Change, error) {
	if o.Validate == nil {
		o.Validate = func(tenants []settings.TenantSpec) settings.Faults { return settings.ValidateTenants(tenants, "") }
	}
	var changes []Change
	err := s.longTransaction(ctx, func(tx *gorm.DB) error {
		a := applier{tx: tx, store: s, secrets: secrets, o: o, source: sourceOperator, now: s.Now()}
		if o.ServeFile {
			a.source = sourceFile
		}
		if err := a.apply(settings.Located(wanted)); err != nil {
			return err
		}
		changes = a.changes
		raised, err := s.storeRevision(tx, o.File)
		if err != nil {
			return err
		}
		for _, c := range raised {
			if err := s.audit(tx, o.Actor, c); err != nil {
				return err
			}
		}
		changes = append(changes, raised...)
		if o.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return nil, err
	}
	return changes, nil
}

// applier is one run of Apply.
type applier struct {
	tx      *gorm.DB
	store   *Store
	secrets Secrets
	o       ApplyOptions
	source  string // of the attributes that it sets
	now     time.Time
	changes []Change
	merged  []settings.TenantSpec // the tenants after the merge
	faults  settings.Faults
	events  []Event // of objects that end; writeEvents writes them last
}

// apply plans the changes of every tenant, validates the result, and only then
// writes.
func (a *applier) apply(wanted []settings.TenantSpec) error {
	plans := make([]*tenantPlan, 0, len(wanted))
	for _, want := range wanted {
		plan, err := a.planTenant(want)
		if err != nil {
			return fmt.Errorf("tenant %s: %w", want.ID, err)
		}
		plans = append(plans, plan)
	}
	if a.check(plans); len(a.faults) > 0 {
		return a.faults.Named(a.merged)
	}
	for _, plan := range plans {
		if a.o.ClientNotes != nil {
			about := a.o.ClientNotes(plan.merged)
			for _, c := range plan.clients {
				c.notes = about[c.want.ID]
			}
		}
		if err := a.writeTenant(plan); err != nil {
			return fmt.Errorf("tenant %s: %w", plan.want.ID, err)
		}
	}
	if err := a.pruneTenants(wanted); err != nil {
		return err
	}
	if len(a.faults) > 0 {
		return a.faults.Named(a.merged)
	}
	if err := errors.Join(a.recordMappings(a.merged), a.enforceSuspensions(a.secrets, wanted)); err != nil {
		return err
	}
	for _, c := range a.changes {
		if err := a.store.audit(a.tx, a.o.Actor, c); err != nil {
			return err
		}
	}
	return a.writeEvents()
}

// mergeDocument returns the document to store: written over stored or, with
// Replace, written alone.
func (a *applier) mergeDocument(stored, written settings.Document) settings.Document {
	if a.o.Replace {
		return written.WithoutNull()
	}
	return stored.Merge(written)
}

// secretGiven returns how a secret is given. With Replace, a secret that is
// left out is removed.
func (a *applier) secretGiven(p settings.Place, zero bool, keys ...string) settings.Given {
	how := p.Written.Given(zero, keys...)
	if how == settings.Absent && a.o.Replace && !a.o.KeepSecrets {
		return settings.Null
	}
	return how
}

// precondition checks the precondition of the change of one object.
func (a *applier) precondition(exists bool, version func() string) error {
	switch {
	case a.o.Precondition == nil:
		return nil
	case !exists:
		return a.o.Precondition("")
	default:
		return a.o.Precondition(version())
	}
}

// record adds a change of one object and reports whether there is one.
func (a *applier) record(created bool, tenant, kind, id string, fields []FieldChange) bool {
	if !created && len(fields) == 0 {
		return false
	}
	a.changes = append(a.changes, Change{Created: created, Tenant: tenant, Kind: kind, ID: id, Fields: fields})
	return true
}

// addNotes adds notes to the change that was recorded last.
func (a *applier) addNotes(n notes) {
	last := &a.changes[len(a.changes)-1]
	last.Notes = append(last.Notes, n...)
}

// addDisabledEvent adds the event of an object that is being disabled. An
// object that is enabled needs no event, but its caller sets a new
// SessionsValidFrom: an exchange that ran during the disabling may have left a
// session that is younger than the first.
func (a *applier) addDisabledEvent(now bool, tenant string, what EventType, e Event) {
	if now {
		a.addEvent(tenant, what, e)
	}
}

// documents reads the settings of a tenant's rows in a table, by id, as they
// were written.
func (a *applier) documents(table, tenant string) (map[string]settings.Document, error) {
	var rows []struct {
		ID       string
		Settings settings.Document `gorm:"serializer:json"`
	}
	err := a.tx.Table(table).Select("id", "settings").Where("tenant_id = ?", tenant).Find(&rows).Error
	docs := map[string]settings.Document{}
	for _, row := range rows {
		docs[row.ID] = row.Settings.WithoutNull()
	}
	return docs, err
}

// writeDocument stores the settings of a row as they were written. Saving the
// row has stored the defaults too.
func (a *applier) writeDocument(table, tenant, id string, doc settings.Document) error {
	text, err := doc.Text()
	if err != nil {
		return err
	}
	return a.tx.Exec("UPDATE "+table+" SET settings = ? WHERE tenant_id = ? AND id = ?", text, tenant, id).Error
}
