package models

import (
	"fmt"
	"slices"
	"time"

	"github.com/latchkey/latchkey/settings"
)

// tenantPlan is the planned change of one tenant.
type tenantPlan struct {
	want          settings.TenantSpec
	row           *Tenant
	created       bool
	before, after settings.Document

	clients []*clientPlan
	issuers []*issuerPlan

	destinations []*destinationPlan
	removed      []Destination

	merged  settings.TenantSpec // after the change, for Validate; stored objects that are not named come first
	earlier settings.TenantSpec // before the change
	unnamed []TrustedIssuer
}

// planTenant locks the tenant's row and plans the changes of the tenant and of
// its contents.
func (a *applier) planTenant(want settings.TenantSpec) (*tenantPlan, error) {
	lock := lockTenant
	if want.Context {
		lock = lockExistingTenant
	}
	row, created, err := lock(a.tx, want.ID, a.now)
	if err != nil {
		return nil, err
	}
	// Read the time after the wait for the lock: a client that is created again
	// must be younger than every session of the removed one.
	a.now = a.store.Now()
	p := &tenantPlan{want: want, row: row, created: created}
	if !row.PrunedAt.IsZero() {
		a.faults.Add(want.Path+".id", "the id %q belonged to a tenant that was removed, and is never used again", want.ID)
		return p, nil
	}
	written, err := settings.NewDocument(want, want.Written)
	if err != nil {
		return nil, err
	}
	if p.before = (settings.Document{}); !created {
		if p.before, err = row.document(); err != nil {
			return nil, err
		}
	}
	if p.after = p.before; !want.Context {
		if err := a.precondition(!created, func() string { return tenantVersion(*row, p.before) }); err != nil {
			return nil, err
		}
		p.after = a.mergeDocument(p.before, written)
	}
	for spec, doc := range map[*settings.TenantSpec]settings.Document{&p.merged: p.after, &p.earlier: p.before} {
		if err := doc.Decode(spec); err != nil {
			return nil, err
		}
		spec.ID, spec.Path, spec.Users = want.ID, want.Path, want.Users
	}
	p.earlier.Users = nil
	if err := a.planClients(p); err != nil {
		return nil, err
	}
	if err := a.planIssuers(p); err != nil {
		return nil, err
	}
	if err := a.planDestinations(p); err != nil {
		return nil, err
	}
	return p, a.rejectOwned(p, written)
}

// writeTenant writes the planned change.
func (a *applier) writeTenant(p *tenantPlan) error {
	fields, err := diff(p.created, p.before, p.after)
	if err != nil {
		return err
	}
	id, row := p.want.ID, p.row
	own := a.record(p.created, id, "tenant", id, fields)
	if own {
		if !p.created {
			a.addNotes(tenantNotes(p.earlier, p.merged))
		}
		if p.merged.Disabled != row.Disabled && !p.created {
			row.SessionsValidFrom = At(a.now)
			a.addDisabledEvent(p.merged.Disabled, id, EventTenantDisabled, Event{})
		}
		searchable := row.SearchableAttributes
		row.set(p.after, p.merged, a.now)
		if err := a.tx.Save(row).Error; err != nil {
			return err
		}
		if !sameNames(searchable, row.SearchableAttributes) {
			if err := a.changeSearchable(id, p.created, row.SearchableAttributes); err != nil {
				return err
			}
		}
	}
	count := len(a.changes)
	if err := a.applyContents(p); err != nil {
		return err
	}
	if own || len(a.changes) > count {
		return touchTenant(a.tx, id, a.now)
	}
	return nil
}

// applyContents writes the clients, trusted issuers and users of a tenant.
func (a *applier) applyContents(p *tenantPlan) error {
	for _, c := range p.clients {
		if err := a.writeClient(p.want.ID, c); err != nil {
			return fmt.Errorf("client %s: %w", c.want.ID, err)
		}
	}
	if err := a.pruneClients(p.want); err != nil {
		return err
	}
	for _, i := range p.issuers {
		if err := a.writeIssuer(p.want.ID, i); err != nil {
			return fmt.Errorf("trusted issuer %s: %w", i.row.EntryID, err)
		}
	}
	if err := a.pruneIssuers(p.want.ID, p.unnamed); err != nil {
		return err
	}
	for _, u := range p.want.Users {
		if err := a.applyUser(p.want.ID, u); err != nil {
			return fmt.Errorf("user %s: %w", u.Sub, err)
		}
	}
	for _, d := range p.destinations {
		if err := a.writeDestination(p.want.ID, d); err != nil {
			return fmt.Errorf("event destination %s: %w", d.row.ID, err)
		}
	}
	if err := a.pruneDestinations(p.removed); err != nil {
		return err
	}
	return a.rejectCollisions(p)
}

// rejectCollisions adds a fault for every client that has the id of a stored
// user. Validate has already compared the ids in the document with each other
// and with the stored clients.
func (a *applier) rejectCollisions(p *tenantPlan) error {
	var clash []string
	err := a.tx.Raw("SELECT c.id FROM clients c JOIN users u ON u.tenant_id = c.tenant_id AND u.sub = c.id WHERE c.tenant_id = ? AND c.removed_at IS NULL", p.want.ID).Scan(&clash).Error
	for _, id := range clash {
		path := p.want.Path
		if i := slices.IndexFunc(p.merged.Clients, func(c settings.ClientSpec) bool { return c.ID == id }); i >= 0 {
			path = p.merged.Clients[i].Path + ".id"
		}
		a.faults.Add(path, "%q is the id of a user of this tenant", id)
	}
	return err
}

// defaultAlgorithm is the signing algorithm of a tenant that sets none.
const defaultAlgorithm = "RS256"

// set sets the row's settings, as they were written and as columns.
func (t *Tenant) set(doc settings.Document, s settings.TenantSpec, now time.Time) {
	if s.SigningAlgorithm == "" {
		s.SigningAlgorithm = defaultAlgorithm
	}
	t.storeDevice(s.StoreDevice == nil || *s.StoreDevice, now)
	t.Settings, t.UpdatedAt = doc, At(now)
	t.SigningAlgorithm, t.KeyRotation, t.UserRetention, t.ACR, t.Disabled = s.SigningAlgorithm, s.KeyRotation, s.UserRetention, s.ACR, s.Disabled
	t.SearchableAttributes, t.EventRetention = s.SearchableAttributes, nil
	if s.Events != nil {
		t.EventRetention = s.Events.Retention
	}
}

// document returns the tenant's settings as they were written. If a column
// differs from them, an earlier release has written it since, and the column
// counts.
func (t *Tenant) document() (settings.Document, error) {
	doc := t.Settings.WithoutNull()
	var stored settings.TenantSpec
	if err := doc.Decode(&stored); err != nil {
		return nil, err
	}
	columns, err := settings.NewDocument(t.columns(), nil)
	if err != nil {
		return nil, err
	}
	settled := Tenant{}
	settled.set(nil, stored, time.Time{})
	written, err := settings.NewDocument(settled.columns(), nil)
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"signing_algorithm", "key_rotation", "user_retention", "acr", "store_device", "disabled"} {
		if string(columns[key]) == string(written[key]) {
			continue
		}
		if delete(doc, key); columns[key] != nil {
			doc[key] = columns[key]
		}
	}
	return doc, nil
}

// columns returns the settings that the columns hold, without the defaults.
func (t *Tenant) columns() settings.TenantSpec {
	s := settings.TenantSpec{KeyRotation: t.KeyRotation, UserRetention: t.UserRetention, ACR: t.ACR, Disabled: t.Disabled}
	if t.SigningAlgorithm != defaultAlgorithm {
		s.SigningAlgorithm = t.SigningAlgorithm
	}
	if !t.StoreDevice {
		s.StoreDevice = &t.StoreDevice
	}
	return s
}
