package models

import (
	"context"
	"errors"
	"slices"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// Suspensions lists the suspensions in one tenant or, if tenant is empty, in
// all, oldest first. It includes rows that an earlier release suspended without
// a record. It does not include those of removed tenants, which never return.
func (s *Store) Suspensions(ctx context.Context, secrets SuspensionSecrets, tenant string) ([]Suspension, error) {
	var list []Suspension
	err := s.query(ctx, func(db *gorm.DB) error {
		key, err := s.existingSuspensionKey(db, secrets)
		if err != nil || key == nil {
			return err
		}
		list = nil
		err = db.Raw(`SELECT * FROM suspensions WHERE (? = '' OR tenant_id = ?)
			AND NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = suspensions.tenant_id AND t.pruned_at IS NOT NULL)
			ORDER BY suspended_at, tenant_id, noun, name`, tenant, tenant).Scan(&list).Error
		if err != nil {
			return err
		}
		off, err := s.suspendedRows(db, tenant)
		if err != nil {
			return err
		}
		list = matchRecords(key, list, off)
		return nil
	})
	return list, err
}

// suspendedRow is a suspended row.
type suspendedRow struct {
	TenantID    string
	Kind        string
	Names       []string // suspend takes each of them; the readable one is first
	SuspendedAt Time
}

// unrecorded returns the list entry of a row that is suspended without a record.
// Its role is empty, so that only an owner and the machine may resume it.
func (r suspendedRow) unrecorded() *Suspension {
	return &Suspension{TenantID: r.TenantID, Kind: r.Kind, SuspendedAt: r.SuspendedAt, ID: r.Names[0], Exists: true}
}

// suspendedRows reads the suspended rows in one tenant or, if tenant is empty, in
// all.
func (s *Store) suspendedRows(db *gorm.DB, tenant string) (list []suspendedRow, err error) {
	note := func(kind, query string) error {
		var rows []struct {
			TenantID, ID string
			SuspendedAt  Time
		}
		err := db.Raw(query, tenant, tenant).Scan(&rows).Error
		for _, r := range rows {
			list = append(list, suspendedRow{r.TenantID, kind, []string{r.ID}, r.SuspendedAt})
		}
		return err
	}
	const in = " WHERE suspended_at IS NOT NULL AND (? = '' OR tenant_id = ?)"
	err = errors.Join(
		note(KindTenant, "SELECT id AS tenant_id, id, suspended_at FROM tenants WHERE suspended_at IS NOT NULL AND pruned_at IS NULL AND (? = '' OR id = ?) ORDER BY id"),
		note(KindClient, "SELECT tenant_id, id, suspended_at FROM clients"+in+" AND removed_at IS NULL ORDER BY tenant_id, id"),
		note(KindUser, `SELECT tenant_id, sub AS id, suspended_at FROM users`+in+`
			AND NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = users.tenant_id AND t.pruned_at IS NOT NULL) ORDER BY tenant_id, sub`))
	var tenants []string
	err = errors.Join(err, db.Raw("SELECT DISTINCT tenant_id FROM trusted_issuers"+in+" AND removed_at IS NULL ORDER BY tenant_id", tenant, tenant).Scan(&tenants).Error)
	for _, id := range tenants {
		rows, readErr := (&applier{tx: db, store: s}).allEntries(id)
		err = errors.Join(err, readErr)
		for _, row := range rows {
			if !row.SuspendedAt.IsZero() {
				list = append(list, suspendedRow{id, KindIssuer, row.names(), row.SuspendedAt})
			}
		}
	}
	return list, err
}

// matchRecords sets what each record suspends, and adds the rows that are
// suspended without a record.
func matchRecords(key SuspensionKey, records []Suspension, off []suspendedRow) []Suspension {
	byDigest := map[string]*Suspension{}
	for i := range records {
		byDigest[string(records[i].IDDigest)] = &records[i]
	}
	var unrecorded []Suspension
	for _, row := range off {
		found := false
		for _, name := range row.Names {
			record := byDigest[string(key.digest(Ref{row.Kind, row.TenantID, name}))]
			if record == nil {
				continue
			}
			found, record.ID, record.Exists = true, name, true
			if row.Kind == KindIssuer {
				record.Entries = append(record.Entries, row.Names[0])
			}
		}
		if !found {
			unrecorded = append(unrecorded, *row.unrecorded())
		}
	}
	for i := range records {
		r := &records[i]
		if r.ID == "" {
			r.ID = r.Name
		}
		if followed := byDigest[string(r.Follows)]; r.Follows != nil && followed != nil {
			r.FollowsURL = followed.Name
		}
	}
	records = append(records, unrecorded...)
	slices.SortStableFunc(records, func(a, b Suspension) int { return a.SuspendedAt.Compare(b.SuspendedAt.Time) })
	return records
}

// SuspendedAmong lists the suspensions of the given tenants and of the objects in
// them, whether or not their rows exist yet.
func (s *Store) SuspendedAmong(ctx context.Context, secrets SuspensionSecrets, tenants []settings.TenantSpec) ([]Suspension, error) {
	list, err := s.Suspensions(ctx, secrets, "")
	if err != nil || len(list) == 0 {
		return nil, err
	}
	key, err := s.SuspensionKey(ctx, secrets)
	if err != nil {
		return nil, err
	}
	byDigest, named := map[string]string{}, map[Ref]bool{}
	for _, t := range tenants {
		for _, ref := range namesIn(t) {
			byDigest[string(key.digest(ref))], named[ref] = ref.ID, true
		}
	}
	var among []Suspension
	for _, suspension := range list {
		id, found := byDigest[string(suspension.IDDigest)]
		switch {
		case found:
			suspension.ID = id
		case suspension.IDDigest == nil && named[Ref{suspension.Kind, suspension.TenantID, suspension.ID}]:
		case slices.ContainsFunc(suspension.Entries, func(id string) bool { return named[Ref{KindIssuer, suspension.TenantID, id}] }):
			// The file gives the entry another URL.
		default:
			continue
		}
		among = append(among, suspension)
	}
	return among, nil
}

// namesIn lists every name of the tenant and of the objects in it. A trusted
// issuer has two: its id and its URL.
func namesIn(t settings.TenantSpec) []Ref {
	refs := []Ref{{KindTenant, t.ID, t.ID}}
	for _, c := range t.Clients {
		refs = append(refs, Ref{KindClient, t.ID, c.ID})
	}
	for _, i := range t.TrustedIssuers {
		refs = append(refs, Ref{KindIssuer, t.ID, i.EntryID()}, Ref{KindIssuer, t.ID, i.Issuer})
	}
	for _, u := range t.Users {
		refs = append(refs, Ref{KindUser, t.ID, u.Sub})
	}
	return refs
}
