package models

import (
	"fmt"
	"slices"

	"github.com/latchkey/latchkey/settings"
)

// removes reports whether an object that is not wanted is removed.
func (a *applier) removes(ref Ref) bool { return a.o.Prune || slices.Contains(a.o.Remove, ref) }

// removal holds the arguments of the statements that remove an object.
type removal struct {
	Now          Time
	True         bool
	TenantID, ID string
}

// recordRemoval records the removal of an object as a change and as an event.
func (a *applier) recordRemoval(tenant, kind, id string, what EventType, e Event) {
	a.changes = append(a.changes, Change{Removed: true, Tenant: tenant, Kind: kind, ID: id})
	a.addEvent(tenant, what, e)
}

// pruneTenants removes the tenants that are not wanted. The row stays and keeps
// the id, which is never accepted again because tokens of the tenant may still
// be in use. Its keys are deleted at once; its users are deleted when its
// sessions have been swept.
func (a *applier) pruneTenants(wanted []settings.TenantSpec) error {
	if !a.o.Prune && len(a.o.Remove) == 0 {
		return nil
	}
	var ids []string
	if err := a.tx.Raw("SELECT id FROM tenants WHERE pruned_at IS NULL ORDER BY id").Scan(&ids).Error; err != nil {
		return err
	}
	for _, id := range ids {
		named := slices.ContainsFunc(wanted, func(t settings.TenantSpec) bool { return t.ID == id && !t.Context })
		if named || !a.removes(Ref{KindTenant, id, id}) || a.o.PruneInside && !slices.Contains(a.o.Remove, Ref{KindTenant, id, id}) {
			continue
		}
		owned, err := ownedByFile(a.tx, id)
		if err != nil {
			return err
		}
		if len(owned) > 0 {
			a.faults = append(a.faults, settings.Fault{Path: "tenants", Problem: fmt.Sprintf("leave out tenant %s, which %s", id, managedByFile), Code: settings.FaultManagedByFile})
			continue
		}
		if a.o.Precondition != nil {
			row, _, err := lockExistingTenant(a.tx, id, a.now)
			if err != nil {
				return err
			}
			doc, err := row.document()
			if err != nil {
				return err
			}
			if err := a.o.Precondition(tenantVersion(*row, doc)); err != nil {
				return err
			}
		}
		now := At(a.now)
		err = a.tx.Exec("UPDATE tenants SET pruned_at = @Now, disabled = @True, sessions_valid_from = @Now, updated_at = @Now, revision = revision + 1 WHERE id = @ID",
			removal{Now: now, True: true, ID: id}).Error
		for _, table := range []string{"signing_keys", "clients", "trusted_issuers", "event_destinations", "event_destination_states", "event_deliveries"} {
			if err == nil {
				err = a.tx.Exec("DELETE FROM "+table+" WHERE tenant_id = ?", id).Error
			}
		}
		if err != nil {
			return err
		}
		a.recordRemoval(id, "tenant", id, EventTenantRemoved, Event{})
	}
	return nil
}

// pruneClients removes the clients of a tenant that are not wanted.
func (a *applier) pruneClients(want settings.TenantSpec) error {
	if !a.o.Prune && len(a.o.Remove) == 0 {
		return nil
	}
	var ids []string
	if err := a.tx.Raw("SELECT id FROM clients WHERE tenant_id = ? AND removed_at IS NULL ORDER BY id", want.ID).Scan(&ids).Error; err != nil {
		return err
	}
	for _, id := range ids {
		if slices.ContainsFunc(want.Clients, func(c settings.ClientSpec) bool { return c.ID == id }) || !a.removes(Ref{KindClient, want.ID, id}) {
			continue
		}
		now := At(a.now)
		err := a.tx.Exec(`UPDATE clients SET removed_at = @Now, disabled = @True, sessions_valid_from = @Now, updated_at = @Now,
			secret_digest = NULL, previous_secret_digest = NULL WHERE tenant_id = @TenantID AND id = @ID`, removal{now, true, want.ID, id}).Error
		if err != nil {
			return err
		}
		a.recordRemoval(want.ID, "client", id, EventClientRemoved, Event{ClientID: id})
	}
	return nil
}

// pruneIssuers removes the given trusted issuers.
func (a *applier) pruneIssuers(tenant string, rows []TrustedIssuer) error {
	for _, row := range rows {
		if !a.removes(Ref{KindIssuer, tenant, row.EntryID}) {
			continue
		}
		now := At(a.now)
		err := a.tx.Exec("UPDATE trusted_issuers SET removed_at = @Now, disabled = @True, sessions_valid_from = @Now, updated_at = @Now, sealed_secret = NULL WHERE tenant_id = @TenantID AND id = @ID",
			removal{now, true, tenant, row.ID}).Error
		if err != nil {
			return err
		}
		a.recordRemoval(tenant, "issuer", row.EntryID, EventIssuerRemoved, issuerEvent(row.ID, row.Settings.Issuer))
	}
	return nil
}
