package models

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// issuerPlan is the planned change of one trusted issuer.
type issuerPlan struct {
	want          settings.IssuerSpec
	row           TrustedIssuer
	created       bool
	before, after settings.Document
	settings      settings.IssuerSettings // after
	written       settings.Document
	keepsSecret   bool // the stored shared secret stays
}

// planIssuers plans the changes of a tenant's trusted issuers. An entry is
// identified by its id alone, so that it stays the row that sessions refer to,
// whatever else changes.
func (a *applier) planIssuers(p *tenantPlan) error {
	docs, err := a.documents("trusted_issuers", p.want.ID)
	if err != nil {
		return err
	}
	var rows []TrustedIssuer
	if err := a.tx.Where("tenant_id = ? AND removed_at IS NULL", p.want.ID).Order("created_at, id").Find(&rows).Error; err != nil {
		return err
	}
	if err := writeEntryIDs(a.tx, nameEntries(rows)); err != nil {
		return err
	}
	for _, row := range rows {
		if slices.ContainsFunc(p.want.TrustedIssuers, func(e settings.IssuerSpec) bool { return e.EntryID() == row.EntryID }) {
			continue
		}
		p.unnamed = append(p.unnamed, row)
		spec := settings.IssuerSpec{ID: row.EntryID, IssuerSettings: row.Settings}
		spec.Keys.Stored = row.SealedSecret != nil
		spec.Place = settings.Place{Path: fmt.Sprintf("%s.trusted_issuers[%q]", p.want.Path, row.EntryID), Stored: true}
		p.earlier.TrustedIssuers = append(p.earlier.TrustedIssuers, spec)
		if slices.Contains(a.o.Remove, Ref{KindIssuer, p.want.ID, row.EntryID}) {
			if err := a.precondition(true, func() string { return issuerVersion(row, docs[row.ID]) }); err != nil {
				return err
			}
		}
		if !a.removes(Ref{KindIssuer, p.want.ID, row.EntryID}) {
			p.merged.TrustedIssuers = append(p.merged.TrustedIssuers, spec)
		}
	}
	for _, want := range p.want.TrustedIssuers {
		plan := &issuerPlan{want: want, created: true, row: TrustedIssuer{
			TenantID: p.want.ID, ID: strings.ToLower(rand.Text()[:16]), EntryID: want.EntryID(), CreatedAt: At(a.now),
		}}
		if at := slices.IndexFunc(rows, func(row TrustedIssuer) bool { return row.EntryID == want.EntryID() }); at >= 0 {
			plan.row, plan.created = rows[at], false
		}
		if err := a.planIssuer(plan, docs[plan.row.ID]); err != nil {
			return fmt.Errorf("trusted issuer %s: %w", plan.row.EntryID, err)
		}
		p.issuers = append(p.issuers, plan)
		merged := want
		merged.IssuerSettings = plan.settings
		p.merged.TrustedIssuers = append(p.merged.TrustedIssuers, merged)
	}
	return nil
}

func (a *applier) planIssuer(p *issuerPlan, stored settings.Document) error {
	if err := a.precondition(!p.created, func() string { return issuerVersion(p.row, stored) }); err != nil {
		return err
	}
	written, err := settings.NewDocument(p.want.IssuerSettings, p.want.Written)
	if err != nil {
		return err
	}
	if p.before = stored; p.created {
		p.before = settings.Document{}
	}
	p.written, p.after = written, a.mergeDocument(p.before, written)
	if err := p.after.Decode(&p.settings); err != nil {
		return err
	}
	keep := a.o.KeepSecrets && p.row.SealedSecret != nil && !p.want.Keys.Given()
	if _, given := written["keys"]; !keep && (given || a.o.Replace) {
		p.settings.Keys.SharedSecret, p.settings.Keys.SharedSecretFile = p.want.Keys.SharedSecret, p.want.Keys.SharedSecretFile
		return nil
	}
	p.keepsSecret = p.row.SealedSecret != nil
	p.settings.Keys.Stored = p.keepsSecret
	if p.keepsSecret && p.settings.Issuer != p.row.Settings.Issuer {
		a.faults.Add(p.want.Path+".keys", "is missing: the stored shared_secret belongs to the previous issuer, so give the keys again")
	}
	return nil
}

// writeEntryIDs stores the entry ids of rows that an earlier release wrote.
func writeEntryIDs(tx *gorm.DB, rows []*TrustedIssuer) error {
	for _, row := range rows {
		err := tx.Exec("UPDATE trusted_issuers SET entry_id = ? WHERE tenant_id = ? AND id = ?", row.EntryID, row.TenantID, row.ID).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// writeIssuer writes the planned change.
func (a *applier) writeIssuer(tenant string, p *issuerPlan) error {
	fields, err := diff(p.created, p.before, p.after)
	if err != nil {
		return err
	}
	row, secret := &p.row, p.settings.Keys.SharedSecret
	switch {
	case p.keepsSecret:
	case secret == "" && row.SealedSecret != nil:
		row.SealedSecret, row.RootVersion = nil, 0
		fields = append(fields, FieldChange{Name: "keys.shared_secret"})
	case secret != "" && !(p.settings.Issuer == row.Settings.Issuer && a.secrets.MatchIssuerSecret(tenant, p.settings.Issuer, secret, row.SealedSecret, row.RootVersion)):
		row.SealedSecret, row.RootVersion = a.secrets.SealIssuerSecret(tenant, p.settings.Issuer, secret)
		fields = append(fields, FieldChange{Name: "keys.shared_secret"})
	}
	if !a.record(p.created, tenant, "issuer", row.EntryID, fields) {
		return nil
	}
	if !p.created {
		a.addNotes(issuerNotes(row.Settings, p.settings, false))
	}
	if !p.created && !a.o.Replace {
		a.addNotes(keptNotes(p.after, p.written, func(d, kept settings.IssuerSettings) notes { return issuerNotes(d, kept, true) }))
	}
	if p.settings.Disabled != row.Disabled && !p.created {
		row.SessionsValidFrom = At(a.now)
		a.addDisabledEvent(p.settings.Disabled, tenant, EventIssuerDisabled, issuerEvent(row.ID, p.settings.Issuer))
	}
	if !p.created && p.settings.Issuer != row.Settings.Issuer {
		if err := a.keepSuspendedOnRename(row); err != nil {
			return err
		}
	}
	row.Settings, row.Disabled, row.UpdatedAt = p.settings, p.settings.Disabled, At(a.now)
	if err := a.tx.Save(row).Error; err != nil {
		return err
	}
	return a.writeDocument("trusted_issuers", tenant, row.ID, p.after)
}
