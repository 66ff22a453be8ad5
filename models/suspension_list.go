package models

import (
	"context"
	"errors"
	"slices"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// Suspensions lists the suspensions in one tenant or, if tenant is empty, in
// all, oldest first. It includes rows that are suspended without a record, as
// an earlier release could leave them. A tenant that was removed has none:
// nothing of it comes back.
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
		off, err := s.switchedOff(db, tenant)
		if err != nil {
			return err
		}
		list = match(key, list, off)
		return nil
	})
	return list, err
}

// offRow is a suspended row.
type offRow struct {
	TenantID    string
	Noun        string
	Names       []string // by which it can be suspended, the readable one first
	SuspendedAt Time
}

// unrecorded returns the list entry of a row that is suspended without a
// record. Whoever may resume everything may resume it.
func (r offRow) unrecorded() *Suspension {
	return &Suspension{TenantID: r.TenantID, Noun: r.Noun, SuspendedAt: r.SuspendedAt, ID: r.Names[0], Exists: true}
}

// switchedOff reads the suspended rows in one tenant or, if tenant is empty, in
// all.
func (s *Store) switchedOff(db *gorm.DB, tenant string) (list []offRow, err error) {
	note := func(noun, query string) error {
		var rows []struct {
			TenantID, ID string
			SuspendedAt  Time
		}
		err := db.Raw(query, tenant, tenant).Scan(&rows).Error
		for _, r := range rows {
			list = append(list, offRow{r.TenantID, noun, []string{r.ID}, r.SuspendedAt})
		}
		return err
	}
	const in = " WHERE suspended_at IS NOT NULL AND (? = '' OR tenant_id = ?)"
	err = errors.Join(
		note(NounTenant, "SELECT id AS tenant_id, id, suspended_at FROM tenants WHERE suspended_at IS NOT NULL AND pruned_at IS NULL AND (? = '' OR id = ?) ORDER BY id"),
		note(NounClient, "SELECT tenant_id, id, suspended_at FROM clients"+in+" AND removed_at IS NULL ORDER BY tenant_id, id"),
		note(NounUser, `SELECT tenant_id, sub AS id, suspended_at FROM users`+in+`
			AND NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = users.tenant_id AND t.pruned_at IS NOT NULL) ORDER BY tenant_id, sub`))
	var tenants []string
	err = errors.Join(err, db.Raw("SELECT DISTINCT tenant_id FROM trusted_issuers"+in+" AND removed_at IS NULL ORDER BY tenant_id", tenant, tenant).Scan(&tenants).Error)
	for _, id := range tenants {
		rows, cannot := (&applier{tx: db, store: s}).allEntries(id)
		err = errors.Join(err, cannot)
		for _, row := range rows {
			if !row.SuspendedAt.IsZero() {
				list = append(list, offRow{id, NounIssuer, row.names(), row.SuspendedAt})
			}
		}
	}
	return list, err
}

// match sets in every record what it suspends, and adds the rows that are
// suspended without one.
func match(key SuspensionKey, records []Suspension, off []offRow) []Suspension {
	byDigest := map[string]*Suspension{}
	for i := range records {
		byDigest[string(records[i].IDDigest)] = &records[i]
	}
	var unrecorded []Suspension
	for _, row := range off {
		found := false
		for _, name := range row.Names {
			record := byDigest[string(key.digest(Ref{row.Noun, row.TenantID, name}))]
			if record == nil {
				continue
			}
			found, record.ID, record.Exists = true, name, true
			if row.Noun == NounIssuer {
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

// SuspendedAmong lists the suspensions of what the given tenants name, whether
// or not its rows exist yet.
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
		for _, ref := range refsOf(t) {
			byDigest[string(key.digest(ref))], named[ref] = ref.ID, true
		}
	}
	var among []Suspension
	for _, suspension := range list {
		id, is := byDigest[string(suspension.IDDigest)]
		switch {
		case is:
			suspension.ID = id
		case suspension.IDDigest == nil && named[Ref{suspension.Noun, suspension.TenantID, suspension.ID}]:
		case slices.ContainsFunc(suspension.Entries, func(id string) bool { return named[Ref{NounIssuer, suspension.TenantID, id}] }):
			// The file gives the entry another URL.
		default:
			continue
		}
		among = append(among, suspension)
	}
	return among, nil
}

// refsOf returns the names of the tenant and of everything in it.
func refsOf(t settings.TenantSpec) []Ref {
	refs := []Ref{{NounTenant, t.ID, t.ID}}
	for _, c := range t.Clients {
		refs = append(refs, Ref{NounClient, t.ID, c.ID})
	}
	for _, i := range t.TrustedIssuers {
		refs = append(refs, Ref{NounIssuer, t.ID, i.EntryID()}, Ref{NounIssuer, t.ID, i.Issuer})
	}
	for _, u := range t.Users {
		refs = append(refs, Ref{NounUser, t.ID, u.Sub})
	}
	return refs
}
