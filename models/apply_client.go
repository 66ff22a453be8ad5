package models

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// previousFor is how long a previous secret is accepted unless previous_until
// sets another time.
const previousFor = 7 * 24 * time.Hour

// PresetKeys are the settings that a preset supplies if they are not given.
var PresetKeys = []string{"access_token_ttl", "absolute_lifetime", "inactivity_timeout", "refresh_grace"}

// clientPlan is the planned change of one client.
type clientPlan struct {
	want          settings.ClientSpec
	row           Client
	created       bool
	before, after settings.Document
	written       settings.Document
	settings      settings.ClientSettings // after
	notes         notes
}

// planClients plans the changes of a tenant's clients.
func (a *applier) planClients(p *tenantPlan) error {
	docs, err := a.documents("clients", p.want.ID)
	if err != nil {
		return err
	}
	var rows []Client
	if err := a.tx.Where("tenant_id = ?", p.want.ID).Order("id").Find(&rows).Error; err != nil {
		return err
	}
	byID := map[string]Client{}
	for _, row := range rows {
		byID[row.ID] = row
		named := slices.ContainsFunc(p.want.Clients, func(c settings.ClientSpec) bool { return c.ID == row.ID })
		if !row.RemovedAt.IsZero() || named {
			continue
		}
		spec := settings.ClientSpec{ID: row.ID, ClientSettings: row.Settings, SecretStored: row.SecretDigest.Digest != nil}
		spec.Place = settings.Place{Path: fmt.Sprintf("%s.clients[%q]", p.want.Path, row.ID), Stored: true}
		p.earlier.Clients = append(p.earlier.Clients, spec)
		if slices.Contains(a.o.Remove, Ref{KindClient, p.want.ID, row.ID}) {
			if err := a.precondition(true, func() string { return clientVersion(row, docs[row.ID]) }); err != nil {
				return err
			}
		}
		if !a.removes(Ref{KindClient, p.want.ID, row.ID}) {
			p.merged.Clients = append(p.merged.Clients, spec)
		}
	}
	for _, want := range p.want.Clients {
		plan, err := a.planClient(want, byID[want.ID], docs[want.ID])
		if err != nil {
			return fmt.Errorf("client %s: %w", want.ID, err)
		}
		p.clients = append(p.clients, plan)
		merged := want
		merged.ClientSettings = plan.settings
		merged.SecretStored = !merged.Public() && plan.row.SecretDigest.Digest != nil && a.secretGiven(want.Place, want.Secret == "", "secret", "secret_file") == settings.Absent
		p.merged.Clients = append(p.merged.Clients, merged)
	}
	return nil
}

func (a *applier) planClient(want settings.ClientSpec, row Client, stored settings.Document) (*clientPlan, error) {
	p := &clientPlan{want: want, row: row, before: stored}
	p.created = row.ID == "" || !row.RemovedAt.IsZero()
	if err := a.precondition(!p.created, func() string { return clientVersion(row, stored) }); err != nil {
		return nil, err
	}
	if p.created { // removed: its earlier sessions are not swept yet
		p.before = settings.Document{}
		p.row = Client{ID: want.ID, CreatedAt: At(a.now), SessionsValidFrom: recreationCutoff(row, a.now)}
	}
	written, err := settings.NewDocument(want.ClientSettings, want.Written)
	if err != nil {
		return nil, err
	}
	p.written, p.after = written, a.mergeDocument(p.before, written)
	if _, given := written["preset"]; given && string(p.before["preset"]) != string(p.after["preset"]) {
		maps.DeleteFunc(p.after, func(key string, _ json.RawMessage) bool {
			return slices.Contains(PresetKeys, key) && written[key] == nil
		})
	}
	return p, p.after.Decode(&p.settings)
}

// writeClient writes the planned change.
func (a *applier) writeClient(tenant string, p *clientPlan) error {
	fields, err := diff(p.created, p.before, p.after)
	if err != nil {
		return err
	}
	row := &p.row
	row.TenantID = tenant
	before := row.Settings
	secrets, moved := a.clientSecrets(tenant, p)
	fields = append(fields, secrets...)
	disabled := row.Disabled
	row.Settings, row.Disabled = p.settings, p.settings.Disabled
	lives := row.recordAccessTTL(p.created, a.now)
	if !a.record(p.created, tenant, "client", row.ID, fields) {
		if lives { // an earlier release wrote the row
			return a.saveClient(p)
		}
		for _, m := range moved {
			if err := renewClientSecret(a.tx, tenant, row.ID, m.old, m.renewed); err != nil {
				return err
			}
		}
		return nil
	}
	if !p.created {
		a.addNotes(clientNotes(before, p.settings, false))
	}
	if !p.created && !a.o.Replace {
		a.addNotes(keptNotes(p.after, p.written, func(d, kept settings.ClientSettings) notes { return clientNotes(d, kept, true) }))
	}
	a.addNotes(p.notes)
	if row.Disabled != disabled && !p.created {
		row.SessionsValidFrom = At(a.now)
		a.addDisabledEvent(row.Disabled, tenant, EventClientDisabled, Event{ClientID: row.ID})
	}
	row.UpdatedAt = At(a.now)
	return a.saveClient(p)
}

func (a *applier) saveClient(p *clientPlan) error {
	if err := a.tx.Save(&p.row).Error; err != nil {
		return err
	}
	return a.writeDocument("clients", p.row.TenantID, p.row.ID, p.after)
}

// movedSecret is an unchanged secret, with its digest under the root secret
// that issues.
type movedSecret struct{ old, renewed Digest }

// clientSecrets sets the secret digests of the row as wanted and returns which
// of them change. A public client has none.
func (a *applier) clientSecrets(tenant string, p *clientPlan) (fields []FieldChange, moved []movedSecret) {
	want, row := p.want, &p.row
	previous := false
	for _, secret := range []struct {
		name, want string
		given      settings.Given
		stored     *Digest
	}{
		{"secret", want.Secret, a.secretGiven(want.Place, want.Secret == "", "secret", "secret_file"), &row.SecretDigest},
		{"previous_secret", want.PreviousSecret, a.secretGiven(want.Place, want.PreviousSecret == "", "previous_secret"), &row.PreviousDigest},
	} {
		if p.settings.Public() {
			secret.given = settings.Null
		}
		digest := Digest{}
		switch {
		case secret.given == settings.Absent, secret.given == settings.Null && secret.stored.Digest == nil:
			continue
		case secret.given == settings.Value:
			digest = a.secrets.DigestClientSecret(tenant, want.ID, secret.want)
			if a.secrets.MatchClientSecret(tenant, want.ID, secret.want, *secret.stored) {
				moved = append(moved, movedSecret{*secret.stored, digest})
				continue
			}
		}
		*secret.stored = digest
		fields = append(fields, FieldChange{Name: secret.name})
		previous = previous || secret.name == "previous_secret"
	}
	row.setPreviousUntil(p.settings.PreviousUntil, previous || string(p.before["previous_until"]) != string(p.after["previous_until"]), a.now)
	return fields, moved
}

// setPreviousUntil sets when the previous secret ends. Giving the same secret
// again does not extend its time.
func (c *Client) setPreviousUntil(until *settings.Until, changed bool, now time.Time) {
	switch {
	case c.PreviousDigest.Digest == nil:
		c.PreviousUntil = Time{}
	case changed && until != nil:
		c.PreviousUntil = At(until.From(now))
	case changed || c.PreviousUntil.IsZero():
		c.PreviousUntil = At(now.Add(previousFor))
	}
}

// recreationCutoff returns SessionsValidFrom for a client that is created again
// while the sessions of the removed one are still being swept: sessions created
// in between belong to the removed one.
func recreationCutoff(before Client, now time.Time) Time {
	if before.RemovedAt.IsZero() {
		return Time{}
	}
	return At(now)
}

// ReplaceClientSecret gives a client another secret. The one before stays valid until
// `until`, by default for 7 days. ErrNotFound: there is no such client.
func (s *Store) ReplaceClientSecret(ctx context.Context, secrets Secrets, tenant, id, secret string, until *settings.Until, by Actor) error {
	return s.longTransaction(ctx, func(tx *gorm.DB) error {
		if _, _, err := lockExistingTenant(tx, tenant, s.Now()); err != nil {
			return err
		}
		now := s.Now()
		var row Client
		if err := tx.Where("tenant_id = ? AND id = ? AND removed_at IS NULL", tenant, id).Take(&row).Error; err != nil {
			return orNotFound(err)
		}
		row.PreviousDigest, row.SecretDigest = row.SecretDigest, secrets.DigestClientSecret(tenant, id, secret)
		row.setPreviousUntil(until, true, now)
		if !row.PreviousUntil.IsZero() && !now.Before(row.PreviousUntil.Time) {
			row.PreviousDigest, row.PreviousUntil = Digest{}, Time{}
		}
		err := tx.Exec(`UPDATE clients SET secret_digest = ?, secret_root_version = ?, previous_secret_digest = ?, previous_secret_root_version = ?,
			previous_secret_until = ?, updated_at = ? WHERE tenant_id = ? AND id = ?`, row.SecretDigest.Digest, row.SecretDigest.RootVersion,
			row.PreviousDigest.Digest, row.PreviousDigest.RootVersion, row.PreviousUntil, At(now), tenant, id).Error
		if err != nil {
			return err
		}
		if err := s.audit(tx, by, Change{Tenant: tenant, Kind: KindClient, ID: id, Fields: []FieldChange{{Name: "secret"}}}); err != nil {
			return err
		}
		return touchTenant(tx, tenant, now)
	})
}
