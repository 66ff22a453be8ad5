package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// Secrets is what Apply needs of the keys that are derived from the root secret.
type Secrets interface {
	DigestClientSecret(tenant, client, secret string) Digest
	MatchClientSecret(tenant, client, secret string, stored Digest) bool
	SealIssuerSecret(tenant, issuer, secret string) (sealed []byte, rootVersion int64)
	MatchIssuerSecret(tenant, issuer, secret string, sealed []byte, rootVersion int64) bool
	SuspensionSecrets
}

// errDryRun rolls back what a dry run did.
var errDryRun = errors.New("dry run")

// ApplyOptions say how Apply goes about it.
type ApplyOptions struct {
	DryRun  bool // change nothing, and report what would be changed
	Replace bool // a noun that is named becomes what is wanted, and nothing stored stays in it
	Prune   bool // remove tenants, clients and trusted issuers that are not wanted

	PruneInside bool  // Prune removes no tenant, only what is in those that are wanted
	Remove      []Ref // remove these, which are not wanted either
	KeepSecrets bool  // a secret that is left out stays as it is stored, even with Replace

	// Precondition is called before the only noun that is wanted is changed, with its
	// version, or with an empty one if it does not exist. Its error is returned, and
	// nothing is changed. nil: there is none.
	Precondition func(version string) error

	// Validate names the faults of the tenants as they would be: what is wanted,
	// merged with what is stored. nil: ValidateTenants without a base issuer.
	Validate func([]settings.TenantSpec) settings.Faults

	// File is the version of the file that wanted is from: a higher revision than
	// the stored one is stored.
	File *File

	// Actor is who applies, for the audit events.
	Actor Actor

	// ServeFile says that this is the file of serve: the attributes that it names
	// are the file's, and so are its nouns.
	ServeFile bool
}

// Apply makes tenants, clients, trusted issuers and users as wanted says, in
// one transaction, and reports what it changed. A noun that wanted does not
// name stays, unless it prunes; so does a key that a noun leaves out, unless it
// replaces. Applying the same again changes nothing. The faults of the outcome
// are returned as Faults, and then nothing is changed.
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
		raised, err := s.raise(tx, o.File)
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
	merged  []settings.TenantSpec // as they will be
	faults  settings.Faults
	ended   []Event // what ends with this transaction, to be told last
}

// apply works out what becomes of every tenant, checks the whole, and only then
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
		if err := a.tenant(plan); err != nil {
			return fmt.Errorf("tenant %s: %w", plan.want.ID, err)
		}
	}
	if err := a.pruneTenants(wanted); err != nil {
		return err
	}
	if len(a.faults) > 0 {
		return a.faults.Named(a.merged)
	}
	if err := errors.Join(a.noteMappings(a.merged), a.keepSuspended(a.secrets, wanted)); err != nil {
		return err
	}
	for _, c := range a.changes {
		if err := a.store.audit(a.tx, a.o.Actor, c); err != nil {
			return err
		}
	}
	return a.tell()
}

// settle is what becomes of a stored document.
func (a *applier) settle(stored, written settings.Document) settings.Document {
	if a.o.Replace {
		return written.WithoutNull()
	}
	return stored.Merge(written)
}

// given says how a secret is given: with Replace, one that is left out is gone.
func (a *applier) given(p settings.Place, zero bool, keys ...string) settings.Given {
	how := p.Written.Given(zero, keys...)
	if how == settings.Absent && a.o.Replace && !a.o.KeepSecrets {
		return settings.Null
	}
	return how
}

// precondition checks the precondition of the change of one noun.
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

// record notes a change of one noun and reports whether there is one.
func (a *applier) record(created bool, tenant, noun, id string, fields []FieldChange) bool {
	if !created && len(fields) == 0 {
		return false
	}
	a.changes = append(a.changes, Change{Created: created, Tenant: tenant, Noun: noun, ID: id, Fields: fields})
	return true
}

// note adds notes to the change that was recorded last.
func (a *applier) note(n notes) {
	last := &a.changes[len(a.changes)-1]
	last.Notes = append(last.Notes, n...)
}

// disabled tells of a noun that is disabled. One that comes back needs no
// event, but a new mark: an exchange that ran beside the disabling may have
// left a session that is younger than the first.
func (a *applier) disabled(now bool, tenant string, what EventType, e Event) {
	if now {
		a.event(tenant, what, e)
	}
}

// documents reads the settings of the rows of a table that belong to a tenant,
// by id, as they were written.
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

// writeDocument stores the settings of a row as they were written, where saving
// the row has stored the defaults too.
func (a *applier) writeDocument(table, tenant, id string, doc settings.Document) error {
	text, err := doc.Text()
	if err != nil {
		return err
	}
	return a.tx.Exec("UPDATE "+table+" SET settings = ? WHERE tenant_id = ? AND id = ?", text, tenant, id).Error
}
