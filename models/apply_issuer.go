package models

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
)

// issuers pairs entries with rows: same issuer and token type, and first the
// same audiences, then the same namespace. One that is left on both sides is
// the same entry with another of both; sessions keep referring to it.
func (a *applier) issuers(tenant string, wanted []IssuerSpec) error {
	var rows []TrustedIssuer
	if err := a.tx.Where("tenant_id = ? AND removed_at IS NULL", tenant).Order("created_at, id").Find(&rows).Error; err != nil {
		return err
	}
	pairs := make([]*TrustedIssuer, len(wanted))
	pair := func(same func(IssuerSettings, IssuerSettings) bool) {
		for i, want := range wanted {
			at := slices.IndexFunc(rows, func(row TrustedIssuer) bool { return same(row.Settings, want.IssuerSettings) })
			if pairs[i] == nil && at >= 0 {
				row := rows[at]
				pairs[i], rows = &row, slices.Delete(rows, at, at+1)
			}
		}
	}
	pair(func(a, b IssuerSettings) bool { return a.kin(b) && sameSet(a.Audiences, b.Audiences) })
	pair(func(a, b IssuerSettings) bool { return a.kin(b) && a.SubjectPrefix == b.SubjectPrefix })
	pair(IssuerSettings.kin)
	for i, want := range wanted {
		if err := a.issuer(tenant, want, pairs[i]); err != nil {
			return fmt.Errorf("trusted issuer %s: %w", want.Issuer, err)
		}
	}
	return a.pruneIssuers(tenant, rows) // what is left is not wanted
}

// kin says that two entries are of one issuer and one kind of token.
func (s IssuerSettings) kin(o IssuerSettings) bool {
	return s.Issuer == o.Issuer && s.TokenType == o.TokenType
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func (a *applier) issuer(tenant string, want IssuerSpec, row *TrustedIssuer) error {
	created := row == nil
	if created {
		row = &TrustedIssuer{TenantID: tenant, ID: strings.ToLower(rand.Text()[:16]), CreatedAt: At(a.now)}
	}
	fields, err := diff(created, row.Settings, want.IssuerSettings)
	if err != nil {
		return err
	}
	secret := want.Keys.SharedSecret
	switch {
	case secret == "" && row.SealedSecret != nil:
		row.SealedSecret, row.RootVersion = nil, 0
		fields = append(fields, FieldChange{Name: "keys.shared_secret"})
	case secret != "" && !a.secrets.MatchIssuerSecret(tenant, want.Issuer, secret, row.SealedSecret, row.RootVersion):
		row.SealedSecret, row.RootVersion = a.secrets.SealIssuerSecret(tenant, want.Issuer, secret)
		fields = append(fields, FieldChange{Name: "keys.shared_secret"})
	}
	if !a.record(created, tenant, "issuer", want.Issuer, fields) {
		return nil
	}
	if want.Disabled != row.Disabled && !created {
		row.SessionsValidFrom = At(a.now)
		a.disabled(want.Disabled, tenant, EventIssuerDisabled, issuerEvent(row.ID, want.Issuer))
	}
	row.Settings, row.Disabled, row.UpdatedAt = want.IssuerSettings, want.Disabled, At(a.now)
	return a.tx.Save(row).Error
}
