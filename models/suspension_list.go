package models

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// SuspensionCursor is a position in a list of suspensions, which is ordered from the
// oldest to the newest. The zero value is the beginning. It contains no sub, because
// cursors are logged.
type SuspensionCursor struct {
	At     Time
	Digest []byte // of what is suspended
}

// ParseSuspensionCursor parses what String returns. It returns ErrCursor for any other
// text.
func ParseSuspensionCursor(s string) (SuspensionCursor, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 40 || len(s) != base64.RawURLEncoding.EncodedLen(len(b)) { // DecodeString skips newlines
		return SuspensionCursor{}, ErrCursor
	}
	return SuspensionCursor{At(time.UnixMicro(int64(binary.BigEndian.Uint64(b)))), b[8:]}, nil
}

// String returns the cursor in the form that callers keep.
func (c SuspensionCursor) String() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.At.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, c.Digest...))
}

func (c SuspensionCursor) compare(other SuspensionCursor) int {
	return cmp.Or(c.At.Compare(other.At.Time), bytes.Compare(c.Digest, other.Digest))
}

// Cursor returns the position right after the suspension. Only a suspension from a list
// has one.
func (s *Suspension) Cursor() SuspensionCursor { return SuspensionCursor{s.SuspendedAt, s.place} }

// SuspensionFilter selects the suspensions that ListSuspensions returns.
type SuspensionFilter struct {
	Tenants []string         // nil: all
	After   SuspensionCursor // the end of the previous page; zero: the first page
	Limit   int
}

// Suspensions lists the suspensions in one tenant or, if tenant is empty, in all, as
// ListSuspensions does, all of them.
func (s *Store) Suspensions(ctx context.Context, secrets SuspensionSecrets, tenant string) (all []Suspension, err error) {
	f := SuspensionFilter{Limit: MostExamined}
	if tenant != "" {
		f.Tenants = []string{tenant}
	}
	for {
		list, next, err := s.ListSuspensions(ctx, secrets, f)
		if err != nil {
			return nil, err
		}
		if all = append(all, list...); next.Digest == nil {
			return all, nil
		}
		f.After = next
	}
}

// ListSuspensions returns a page of suspensions, the oldest first, and the cursor of the
// next page, which is zero on the last page. It includes rows that an earlier release
// suspended without a record. It does not include the suspensions of removed tenants,
// which never return. The tenants need not exist. A page may be shorter than the limit.
func (s *Store) ListSuspensions(ctx context.Context, secrets SuspensionSecrets, f SuspensionFilter) (list []Suspension, next SuspensionCursor, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		list, next = nil, SuspensionCursor{}
		key, err := s.existingSuspensionKey(db, secrets)
		if err != nil || key == nil {
			return err
		}
		p := suspensionPage{db: db, key: key, SuspensionFilter: f, until: SuspensionCursor{At: At(time.UnixMicro(math.MaxInt64))}}
		if err := p.read(); err != nil {
			return err
		}
		list, next = p.cut()
		return nil
	})
	return list, next, err
}

// suspensionPage is a page of suspensions that is being read: records, what each of them
// suspends, and rows that are suspended without a record.
type suspensionPage struct {
	db  *gorm.DB
	key SuspensionKey
	SuspensionFilter

	until SuspensionCursor // the page ends here, or before
	more  bool             // there may be suspensions after until
	list  []Suspension
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

func (p *suspensionPage) read() error {
	if err := p.readRecords(); err != nil {
		return err
	}
	rows, err := p.readRows()
	if err != nil {
		return err
	}
	return p.match(rows)
}

// cut returns the page and the cursor of the next one.
func (p *suspensionPage) cut() (list []Suspension, next SuspensionCursor) {
	list = slices.DeleteFunc(p.list, func(s Suspension) bool {
		at := s.Cursor()
		return at.compare(p.After) <= 0 || p.until.Digest != nil && at.compare(p.until) > 0
	})
	slices.SortFunc(list, func(a, b Suspension) int { return a.Cursor().compare(b.Cursor()) })
	switch {
	case len(list) > p.Limit:
		list = list[:p.Limit]
		return list, list[p.Limit-1].Cursor()
	case p.more:
		return list, p.until
	}
	return list, SuspensionCursor{}
}

// each calls read with a condition for the tenants: once for all of them, or else for
// each, so that an index serves it.
func (p *suspensionPage) each(column string, read func(condition string, args []any) error) error {
	if p.Tenants == nil {
		return read("", nil)
	}
	for _, tenant := range p.Tenants {
		if err := read(" AND "+column+" = ?", []any{tenant}); err != nil {
			return err
		}
	}
	return nil
}

// readRecords reads the records of the page, and ends it at the last of them if there are
// more.
func (p *suspensionPage) readRecords() error {
	after := p.After
	if after.Digest == nil {
		after.Digest = []byte{}
	}
	err := p.each("tenant_id", func(condition string, args []any) error {
		var found []Suspension
		err := p.db.Raw("SELECT * FROM suspensions WHERE (suspended_at, id_digest) > (?, ?)"+condition+" ORDER BY suspended_at, id_digest LIMIT ?",
			append(append([]any{micros(after.At), after.Digest}, args...), p.Limit+1)...).Scan(&found).Error
		p.list = append(p.list, found...)
		return err
	})
	for i := range p.list {
		p.list[i].place = p.list[i].IDDigest
	}
	slices.SortFunc(p.list, func(a, b Suspension) int { return a.Cursor().compare(b.Cursor()) })
	if len(p.list) > p.Limit {
		p.list, p.more = p.list[:p.Limit], true
		p.until = p.list[p.Limit-1].Cursor()
	}
	if err != nil {
		return err
	}
	p.list, err = ofRemaining(p.db, p.list, func(s Suspension) string { return s.TenantID })
	return err
}

// ofRemaining returns the items that do not belong to a removed tenant. A condition in
// the query of the items would keep PostgreSQL from reading them in the order of an index.
func ofRemaining[T any](db *gorm.DB, items []T, tenant func(T) string) ([]T, error) {
	tenants := map[string]bool{}
	for _, item := range items {
		tenants[tenant(item)] = true
	}
	removed := map[string]bool{}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(tenants)), pruneBatch) {
		var ids []string
		if err := db.Raw("SELECT id FROM tenants WHERE id IN ? AND pruned_at IS NOT NULL", some).Scan(&ids).Error; err != nil {
			return nil, err
		}
		for _, id := range ids {
			removed[id] = true
		}
	}
	return slices.DeleteFunc(items, func(item T) bool { return removed[tenant(item)] }), nil
}

// micros returns the time for a comparison; the zero time comes before all others.
func micros(t Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// readRows reads the tenants, clients and users that were suspended during the page, and
// the trusted issuers of the tenants in it. A record and the row that it suspends have
// the same time, unless two records suspend the same trusted issuer.
func (p *suspensionPage) readRows() (rows []suspendedRow, err error) {
	for _, of := range []struct{ kind, tenant, from string }{
		{KindTenant, "id", "id AS tenant_id, id, suspended_at FROM tenants WHERE pruned_at IS NULL"},
		{KindClient, "tenant_id", "tenant_id, id, suspended_at FROM clients WHERE removed_at IS NULL"},
		{KindUser, "tenant_id", "tenant_id, sub AS id, suspended_at FROM users WHERE suspended_at IS NOT NULL"},
	} {
		err := p.each(of.tenant, func(condition string, args []any) error {
			found, err := p.rowsOf(of.from+condition, args)
			for _, r := range found {
				rows = append(rows, suspendedRow{r.TenantID, of.kind, []string{r.ID}, r.SuspendedAt})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	rows, err = ofRemaining(p.db, rows, func(r suspendedRow) string { return r.TenantID })
	if err != nil {
		return nil, err
	}
	entries, err := p.entries()
	for _, e := range entries {
		if !e.SuspendedAt.IsZero() {
			rows = append(rows, suspendedRow{e.TenantID, KindIssuer, e.names(), e.SuspendedAt})
		}
	}
	return rows, err
}

type suspendedID struct {
	TenantID, ID string
	SuspendedAt  Time
}

// rowsOf reads rows that were suspended during the page. If there are more than
// MostExamined, it ends the page earlier.
func (p *suspensionPage) rowsOf(from string, args []any) (rows []suspendedID, err error) {
	read := func(begin, end Time, limit int) (found []suspendedID, err error) {
		err = p.db.Raw("SELECT "+from+" AND suspended_at >= ? AND suspended_at <= ? ORDER BY suspended_at LIMIT ?",
			append(slices.Clone(args), micros(begin), end, limit)...).Scan(&found).Error
		return found, err
	}
	rows, err = read(p.After.At, p.until.At, MostExamined+1)
	if err != nil || len(rows) <= MostExamined {
		return rows, err
	}
	// Rows of one time are in the order of digests that the database does not know, so
	// that all of them are read.
	last := rows[MostExamined].SuspendedAt
	p.until, p.more = SuspensionCursor{last, slices.Repeat([]byte{0xff}, len(p.key))}, true
	rows = slices.DeleteFunc(rows, func(r suspendedID) bool { return !r.SuspendedAt.Before(last.Time) })
	same, err := read(last, last, math.MaxInt32)
	return append(rows, same...), err
}

// entries returns all trusted issuers of the tenants in which one was suspended during
// the page.
func (p *suspensionPage) entries() (rows []TrustedIssuer, err error) {
	tenants := map[string]bool{}
	err = p.each("tenant_id", func(condition string, args []any) error {
		found, err := p.rowsOf("tenant_id, id, suspended_at FROM trusted_issuers WHERE removed_at IS NULL"+condition, args)
		for _, r := range found {
			tenants[r.TenantID] = true
		}
		return err
	})
	for _, record := range p.list {
		if record.Kind == KindIssuer {
			tenants[record.TenantID] = true
		}
	}
	if err != nil {
		return nil, err
	}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(tenants)), pruneBatch) {
		var found []TrustedIssuer
		if err := p.db.Where("tenant_id IN ? AND removed_at IS NULL", some).Order("created_at, id").Find(&found).Error; err != nil {
			return nil, err
		}
		slices.SortStableFunc(found, func(a, b TrustedIssuer) int { return cmp.Compare(a.TenantID, b.TenantID) })
		for len(found) > 0 {
			n := slices.IndexFunc(found, func(i TrustedIssuer) bool { return i.TenantID != found[0].TenantID })
			if n < 0 {
				n = len(found)
			}
			nameEntries(found[:n])
			rows, found = append(rows, found[:n]...), found[n:]
		}
	}
	return rows, nil
}

// match sets what each record suspends, and adds the rows that are suspended without a
// record.
func (p *suspensionPage) match(rows []suspendedRow) error {
	records := map[string]*Suspension{} // by digest
	for i := range p.list {
		records[string(p.list[i].IDDigest)] = &p.list[i]
	}
	if err := p.addOthers(records, rows); err != nil {
		return err
	}
	var unrecorded []Suspension
	for _, row := range rows {
		found := false
		for _, name := range row.Names {
			record := records[string(p.digest(row, name))]
			if record == nil {
				continue
			}
			found, record.ID, record.Exists = true, name, true
			if row.Kind == KindIssuer {
				record.Entries = append(record.Entries, row.Names[0])
			}
		}
		if !found {
			one := row.unrecorded()
			one.place = p.digest(row, one.ID)
			unrecorded = append(unrecorded, *one)
		}
	}
	for i := range p.list {
		r := &p.list[i]
		if r.ID == "" {
			r.ID = r.Name
		}
		if followed := records[string(r.Follows)]; r.Follows != nil && followed != nil {
			r.FollowsURL = followed.Name
		}
	}
	p.list = append(p.list, unrecorded...)
	return nil
}

func (p *suspensionPage) digest(r suspendedRow, name string) []byte {
	return p.key.digest(Ref{r.Kind, r.TenantID, name})
}

// addOthers adds the records of other pages that suspend one of the rows, or that a record
// of this page follows.
func (p *suspensionPage) addOthers(records map[string]*Suspension, rows []suspendedRow) error {
	type place struct{ tenant, kind string }
	missing := map[place][][]byte{}
	miss := func(tenant, kind string, digest []byte) {
		if records[string(digest)] == nil {
			missing[place{tenant, kind}] = append(missing[place{tenant, kind}], digest)
		}
	}
	for _, row := range rows {
		for _, name := range row.Names {
			miss(row.TenantID, row.Kind, p.digest(row, name))
		}
	}
	for _, r := range p.list {
		if r.Follows != nil {
			miss(r.TenantID, r.Kind, r.Follows)
		}
	}
	for of, digests := range missing {
		for some := range slices.Chunk(digests, pruneBatch) {
			var found []Suspension
			if err := p.db.Raw("SELECT * FROM suspensions WHERE tenant_id = ? AND noun = ? AND id_digest IN ?", of.tenant, of.kind, some).Scan(&found).Error; err != nil {
				return err
			}
			for i := range found {
				records[string(found[i].IDDigest)] = &found[i]
			}
		}
	}
	return nil
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
