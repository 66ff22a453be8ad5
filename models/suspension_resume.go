package models

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"
)

// Resume lifts a suspension. It finds the suspension by the name that was
// suspended. It finds the suspension of a trusted issuer also by the current id
// and the current URL of the entry. Ended sessions stay ended, and an object
// that the configuration disables stays disabled.
func (s *Store) Resume(ctx context.Context, secrets SuspensionSecrets, ref Ref, by Actor) (*Suspended, error) {
	key, err := s.SuspensionKey(ctx, secrets)
	if err != nil {
		return nil, err
	}
	var lifted *Suspended
	err = s.longTransaction(ctx, func(tx *gorm.DB) error {
		lifted = &Suspended{}
		return s.withTenantLocked(tx, ref.Tenant, func(a *applier, exists bool) error {
			found, err := a.suspensionToLift(key, ref)
			switch {
			case err != nil:
				return err
			case found == nil:
				return ErrNotSuspended
			case !by.Role.mayResume(found.Role):
				return ErrMayNotResume
			}
			gone, err := a.deleteSuspension(found)
			if err != nil {
				return err
			}
			lifted.Suspension, lifted.ID = *found, ref.ID
			if found.Follows != nil {
				if lifted.Followed, err = a.suspension(ref.Tenant, KindIssuer, found.Follows); err != nil {
					return err
				}
			}
			if lifted.Exists, lifted.StaysOff, err = a.resume(ref, key, gone, by, exists); err != nil {
				return err
			}
			return s.auditSuspension(tx, by, ref, "resumed", "", lifted.Exists)
		})
	})
	if err != nil {
		return nil, err
	}
	return lifted, nil
}

// suspensionToLift finds the suspension that ref refers to; it returns nil if
// there is none.
func (a *applier) suspensionToLift(key SuspensionKey, ref Ref) (*Suspension, error) {
	found, err := a.suspension(ref.Tenant, ref.Kind, key.digest(ref))
	if err != nil || found != nil {
		return found, err
	}
	if ref.Kind == KindIssuer {
		if found, err = a.suspensionOfEntries(key, ref); err != nil || found != nil {
			return found, err
		}
	}
	return a.unrecorded(ref)
}

// unrecorded finds a row that is suspended without a record; it returns nil if there is
// none.
func (a *applier) unrecorded(ref Ref) (*Suspension, error) {
	var at []Time
	var err error
	switch ref.Kind {
	case KindTenant:
		err = a.tx.Raw("SELECT suspended_at FROM tenants WHERE id = ? AND suspended_at IS NOT NULL", ref.Tenant).Scan(&at).Error
	case KindClient:
		err = a.tx.Raw("SELECT suspended_at FROM clients WHERE tenant_id = ? AND id = ? AND suspended_at IS NOT NULL AND removed_at IS NULL", ref.Tenant, ref.ID).Scan(&at).Error
	case KindUser:
		err = a.tx.Raw("SELECT suspended_at FROM users WHERE tenant_id = ? AND sub = ? AND suspended_at IS NOT NULL", ref.Tenant, ref.ID).Scan(&at).Error
	case KindIssuer:
		entries, err := a.entries(ref)
		for _, e := range entries {
			if err == nil && !e.SuspendedAt.IsZero() {
				return suspendedRow{e.TenantID, KindIssuer, e.names(), e.SuspendedAt}.unrecorded(), nil
			}
		}
		return nil, err
	}
	if err != nil || len(at) == 0 {
		return nil, err
	}
	return suspendedRow{ref.Tenant, ref.Kind, []string{ref.ID}, at[0]}.unrecorded(), nil
}

// suspensionOfEntries finds a suspension, under another name, of the entries that
// ref identifies. It returns ErrOtherName if there are several, or if the
// suspension affects other entries too: resuming one entry must not resume the
// rest.
func (a *applier) suspensionOfEntries(key SuspensionKey, ref Ref) (*Suspension, error) {
	rows, err := a.allEntries(ref.Tenant)
	if err != nil {
		return nil, err
	}
	found, others := map[string]*Suspension{}, map[string][]string{} // by digest
	for _, row := range rows {
		for _, name := range row.names() {
			record, err := a.suspension(row.TenantID, KindIssuer, key.digest(Ref{KindIssuer, row.TenantID, name}))
			switch {
			case err != nil:
				return nil, err
			case record == nil:
			case row.named(ref.ID):
				record.ID = name
				found[string(record.IDDigest)] = record
			default:
				for _, digest := range [][]byte{record.IDDigest, record.Follows} {
					others[string(digest)] = append(others[string(digest)], row.EntryID)
				}
			}
		}
	}
	var names []string
	for digest, record := range found {
		name := record.ID
		if also := others[digest]; len(also) > 0 {
			name += " (which also suspends " + strings.Join(also, ", ") + ")"
		} else if len(found) == 1 {
			return record, nil
		}
		names = append(names, name)
	}
	if slices.Sort(names); len(names) == 0 {
		return nil, nil
	}
	return nil, fmt.Errorf("%w: resume %s", ErrOtherName, strings.Join(names, " and "))
}

// deleteSuspension deletes a record and those that follow it, and returns their
// digests.
func (a *applier) deleteSuspension(s *Suspension) (gone [][]byte, err error) {
	if s.IDDigest == nil {
		return nil, nil
	}
	const these = " FROM suspensions WHERE tenant_id = ? AND noun = ? AND (id_digest = ? OR follows = ?)"
	args := []any{s.TenantID, s.Kind, s.IDDigest, s.IDDigest}
	var records []Suspension
	if err := a.tx.Raw("SELECT *"+these, args...).Scan(&records).Error; err != nil {
		return nil, err
	}
	for _, r := range records {
		gone = append(gone, r.IDDigest)
	}
	return gone, a.tx.Exec("DELETE"+these, args...).Error
}

// resume resumes the rows that no other suspension affects. It sets
// sessions_valid_from again, because an exchange may have created a session while
// the suspension began.
func (a *applier) resume(ref Ref, key SuspensionKey, gone [][]byte, by Actor, tenantExists bool) (exists bool, staysOff *Suspension, err error) {
	now, e := At(a.now), Event{At: a.now, TenantID: ref.Tenant, Details: map[string]any{"by": by.Name}}
	type row struct {
		statement string
		args      []any
	}
	var rows []row
	marked := " SET suspended_at = NULL, sessions_valid_from = ?, updated_at = ? WHERE suspended_at IS NOT NULL AND "
	switch ref.Kind {
	case KindTenant:
		e.Type = EventTenantResumed
		rows = []row{{"UPDATE tenants" + marked + "id = ?", []any{now, now, ref.Tenant}}}
		exists = tenantExists
	case KindClient:
		e.Type, e.ClientID = EventClientResumed, ref.ID
		rows = []row{{"UPDATE clients" + marked + "tenant_id = ? AND id = ? AND removed_at IS NULL", []any{now, now, ref.Tenant, ref.ID}}}
		exists, err = a.rowExists("clients", "tenant_id = ? AND id = ? AND removed_at IS NULL", ref.Tenant, ref.ID)
	case KindUser:
		e.Type, e.Subject = EventUserResumed, ref.ID
		rows = []row{{"UPDATE users SET suspended_at = NULL, seen_at = ?, updated_at = ? WHERE suspended_at IS NOT NULL AND tenant_id = ? AND sub = ?", []any{now, now, ref.Tenant, ref.ID}}}
		exists, err = a.rowExists("users", "tenant_id = ? AND sub = ?", ref.Tenant, ref.ID)
	case KindIssuer:
		e.Type = EventIssuerResumed
		e.Details["issuer"] = ref.ID
		entries, err := a.allEntries(ref.Tenant)
		if err != nil {
			return false, nil, err
		}
		for _, entry := range entries {
			included := entry.named(ref.ID) || slices.ContainsFunc(gone, func(digest []byte) bool { return key.names(&entry, digest) })
			if exists = exists || included; !included {
				continue
			}
			other, err := a.suspensionOfIssuer(key, &entry)
			switch {
			case err != nil:
				return true, nil, err
			case other != nil && !entry.SuspendedAt.IsZero():
				staysOff = other
			case other == nil:
				rows = append(rows, row{"UPDATE trusted_issuers" + marked + "tenant_id = ? AND id = ?", []any{now, now, ref.Tenant, entry.ID}})
			}
		}
	}
	if err != nil {
		return exists, nil, err
	}
	for _, r := range rows {
		if err := a.tx.Exec(r.statement, r.args...).Error; err != nil {
			return exists, nil, err
		}
	}
	if !tenantExists {
		return exists, staysOff, nil
	}
	if err := insertEvent(a.tx, e); err != nil {
		return exists, nil, err
	}
	return exists, staysOff, touchTenant(a.tx, ref.Tenant, a.now)
}

// suspensionOfIssuer finds a suspension of an entry by its id or by its URL. It
// returns nil if there is none.
func (a *applier) suspensionOfIssuer(key SuspensionKey, entry *TrustedIssuer) (*Suspension, error) {
	for _, name := range entry.names() {
		found, err := a.suspension(entry.TenantID, KindIssuer, key.digest(Ref{KindIssuer, entry.TenantID, name}))
		if err != nil {
			return nil, err
		}
		if found != nil {
			found.ID = name
			return found, nil
		}
	}
	return nil, nil
}

// names reports whether digest is the digest of a name of the entry.
func (k SuspensionKey) names(entry *TrustedIssuer, digest []byte) bool {
	return slices.ContainsFunc(entry.names(), func(name string) bool {
		return bytes.Equal(digest, k.digest(Ref{KindIssuer, entry.TenantID, name}))
	})
}
