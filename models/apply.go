package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
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
	DryRun bool // change nothing, and tell what would be changed
	Prune  bool // remove tenants, clients and trusted issuers that are not wanted

	// ServeFile says that this is the file of serve: the attributes that it names
	// are the file's.
	ServeFile bool
}

// Apply makes tenants, clients, trusted issuers and users as wanted says, in
// one transaction, and tells what it changed. What wanted does not name stays,
// unless it prunes. It is idempotent. The faults of wanted against what is
// stored already are returned as Faults.
func (s *Store) Apply(ctx context.Context, wanted []TenantSpec, secrets Secrets, o ApplyOptions) ([]Change, error) {
	var changes []Change
	err := s.longTransaction(ctx, func(tx *gorm.DB) error {
		a := applier{tx: tx, store: s, secrets: secrets, prune: o.Prune, source: sourceOperator, now: s.Now()}
		if o.ServeFile {
			a.source = sourceFile
		}
		for _, t := range wanted {
			if err := a.tenant(t); err != nil {
				return fmt.Errorf("tenant %s: %w", t.ID, err)
			}
		}
		if err := a.pruneTenants(wanted); err != nil {
			return err
		}
		changes = a.changes
		if len(a.faults) > 0 {
			return a.faults
		}
		if err := errors.Join(a.noteMappings(wanted), a.keepSuspended(secrets, wanted)); err != nil {
			return err
		}
		if err := a.tell(); err != nil {
			return err
		}
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

type applier struct {
	tx      *gorm.DB
	store   *Store
	secrets Secrets
	prune   bool
	source  string // of the attributes that it sets
	now     time.Time
	changes []Change
	faults  Faults
	ended   []Event // what ends with this transaction, to be told last
}

// record notes a change of one noun and says whether there is one.
func (a *applier) record(created bool, tenant, noun, id string, fields []FieldChange) bool {
	if !created && len(fields) == 0 {
		return false
	}
	a.changes = append(a.changes, Change{Created: created, Tenant: tenant, Noun: noun, ID: id, Fields: fields})
	return true
}

func (a *applier) tenant(want TenantSpec) error {
	if want.SigningAlgorithm == "" {
		want.SigningAlgorithm = "RS256"
	}
	type fields struct {
		SigningAlgorithm string     `json:"signing_algorithm"`
		KeyRotation      *Duration  `json:"key_rotation,omitempty"`
		ACR              []ACRClass `json:"acr,omitempty"`
		StoreDevice      *bool      `json:"store_device,omitempty"`
		Disabled         bool       `json:"disabled,omitempty"`
	}
	row, created, err := lockTenant(a.tx, want.ID, a.now)
	if err != nil {
		return err
	}
	// What another process did while this one waited is older than what follows:
	// a client made again is younger than every session of the one before.
	a.now = a.store.Now()
	if !row.PrunedAt.IsZero() {
		a.faults.Add("tenant "+want.ID, "this id belonged to a tenant that was removed and is never used again")
		return nil
	}
	store := want.StoreDevice == nil || *want.StoreDevice
	changed, err := diff(created, fields{row.SigningAlgorithm, row.KeyRotation, row.ACR, unlessTrue(row.StoreDevice), row.Disabled},
		fields{want.SigningAlgorithm, want.KeyRotation, want.ACR, unlessTrue(store), want.Disabled})
	if err != nil {
		return err
	}
	own := a.record(created, want.ID, "tenant", want.ID, changed)
	if own {
		if want.Disabled != row.Disabled && !created {
			row.SessionsValidFrom = At(a.now)
			a.disabled(want.Disabled, want.ID, EventTenantDisabled, Event{})
		}
		row.storeDevice(store, a.now)
		row.SigningAlgorithm, row.KeyRotation, row.ACR, row.Disabled, row.UpdatedAt = want.SigningAlgorithm, want.KeyRotation, want.ACR, want.Disabled, At(a.now)
		if err := a.tx.Save(row).Error; err != nil {
			return err
		}
	}
	count := len(a.changes)
	if err := a.inside(want); err != nil {
		return err
	}
	if own || len(a.changes) > count {
		return touchTenant(a.tx, want.ID, a.now)
	}
	return nil
}

// unlessTrue leaves the default out of a difference.
func unlessTrue(v bool) *bool {
	if v {
		return nil
	}
	return &v
}

// inside applies what belongs to a tenant.
func (a *applier) inside(want TenantSpec) error {
	for _, c := range want.Clients {
		if err := a.client(want.ID, c); err != nil {
			return fmt.Errorf("client %s: %w", c.ID, err)
		}
	}
	if err := a.pruneClients(want); err != nil {
		return err
	}
	if err := a.issuers(want.ID, want.TrustedIssuers); err != nil {
		return err
	}
	for _, u := range want.Users {
		if err := a.user(want.ID, u); err != nil {
			return fmt.Errorf("user %s: %w", u.Sub, err)
		}
	}
	return a.collisions(want.ID, want.acrValues())
}

func (a *applier) client(tenant string, want ClientSpec) error {
	var row Client
	err := translate(a.tx.Where("tenant_id = ? AND id = ?", tenant, want.ID).Take(&row).Error)
	created := errors.Is(err, ErrNotFound) || !row.RemovedAt.IsZero()
	if err != nil && !created {
		return err
	}
	if created { // after a removal: its sessions before are still to be swept
		row = Client{TenantID: tenant, ID: want.ID, CreatedAt: At(a.now), SessionsValidFrom: remade(row, a.now)}
	}
	fields, err := diff(created, row.Settings, want.ClientSettings)
	if err != nil {
		return err
	}
	type move struct{ old, renewed Digest }
	var moved []move
	for _, secret := range []struct {
		name, want string
		stored     *Digest
	}{{"secret", want.Secret, &row.SecretDigest}, {"previous_secret", want.PreviousSecret, &row.PreviousDigest}} {
		digest := Digest{}
		if secret.want != "" {
			digest = a.secrets.DigestClientSecret(tenant, want.ID, secret.want)
		}
		same := digest.Digest == nil && secret.stored.Digest == nil ||
			secret.want != "" && a.secrets.MatchClientSecret(tenant, want.ID, secret.want, *secret.stored)
		if !same {
			fields = append(fields, FieldChange{Name: secret.name})
		}
		if same {
			if digest.Digest != nil {
				moved = append(moved, move{*secret.stored, digest})
			}
			continue
		}
		*secret.stored = digest
	}
	disabled := row.Disabled
	row.Settings, row.Disabled = want.ClientSettings, want.Disabled
	lives := row.keepAccessTTL(created, a.now)
	if !a.record(created, tenant, "client", want.ID, fields) {
		if lives { // an earlier release wrote the row
			return a.tx.Save(&row).Error
		}
		for _, m := range moved {
			if err := renewClientSecret(a.tx, tenant, want.ID, m.old, m.renewed); err != nil {
				return err
			}
		}
		return nil
	}
	if want.Disabled != disabled && !created {
		row.SessionsValidFrom = At(a.now)
		a.disabled(want.Disabled, tenant, EventClientDisabled, Event{ClientID: want.ID})
	}
	row.UpdatedAt = At(a.now)
	return a.tx.Save(&row).Error
}

// remade is the mark of a client that is made again while the one before is
// still being swept: what was opened in between belongs to that one.
func remade(before Client, now time.Time) Time {
	if before.RemovedAt.IsZero() {
		return Time{}
	}
	return At(now)
}

// disabled tells of a noun that is disabled. One that comes back needs no
// event, but a new mark: an exchange that ran beside the disabling may have
// left a session that is younger than the first.
func (a *applier) disabled(now bool, tenant string, what EventType, e Event) {
	if now {
		a.event(tenant, what, e)
	}
}

// collisions looks at the tenant as it now stands, stored entries and wanted
// ones together: what a file does not name stays, and may be in the way.
func (a *applier) collisions(tenant string, acrValues []string) error {
	var clash []string
	err := a.tx.Raw("SELECT c.id FROM clients c JOIN users u ON u.tenant_id = c.tenant_id AND u.sub = c.id WHERE c.tenant_id = ? AND c.removed_at IS NULL", tenant).Scan(&clash).Error
	if err != nil {
		return err
	}
	for _, id := range clash {
		a.faults.Add("tenant "+tenant, "client %s has the id of a user", id)
	}
	var rows []TrustedIssuer
	if err := a.tx.Where("tenant_id = ? AND removed_at IS NULL", tenant).Order("created_at, id").Find(&rows).Error; err != nil {
		return err
	}
	settings := make([]IssuerSettings, len(rows))
	for i, row := range rows {
		settings[i] = row.Settings
		if most := row.Settings.MaxACR; most != "" && !slices.Contains(acrValues, most) {
			a.faults.Add("tenant "+tenant, "max_acr %q of %s is not one of the classes in acr", most, row.Settings.Issuer)
		}
	}
	for _, problem := range namespaceFaults(settings) {
		a.faults.Add("tenant "+tenant, "%s", problem)
	}
	return nil
}
