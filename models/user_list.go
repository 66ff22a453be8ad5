package models

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"
)

// UserFilter selects the users of a tenant that ListUsers lists.
type UserFilter struct {
	Tenant    string
	Issuer    string // id or URL of a trusted issuer whose namespace contains them; empty: any or none
	Prefix    string // of their sub
	Attribute *AttributeMatch
	After     string // the sub after which the list continues
	Limit     int
}

// ListedUser is a user in a list.
type ListedUser struct {
	Sub       string
	Issuers   []string // URLs of the trusted issuers whose namespace contains the user
	Subject   string   // the sub without the prefix of that namespace; empty: no namespace
	CreatedAt time.Time
	SeenAt    time.Time // as in User, or the creation of a later session that is still stored
	Sessions  int       // live ones, among at most mostCounted stored ones
	More      bool      // there are more stored sessions
	Disabled  bool
	Suspended bool
}

// UnknownIssuerError is the error of a list of the users of an issuer that the
// tenant does not have.
type UnknownIssuerError struct{ Tenant, Issuer string }

// Error implements error.
func (e *UnknownIssuerError) Error() string {
	return fmt.Sprintf("tenant %q has no trusted issuer with the id or the URL %q", e.Tenant, e.Issuer)
}

// ListUsers lists users ordered by sub, and reports whether there are more. It
// returns ErrNotFound if there is no such tenant, and ErrNotSearchable or ErrIndexing
// if the attribute cannot be searched for.
func (s *Store) ListUsers(ctx context.Context, f UserFilter) (list []ListedUser, more bool, err error) {
	err = s.longQuery(ctx, func(db *gorm.DB) error {
		if err := f.check(db); err != nil {
			return err
		}
		entries, err := (&applier{tx: db, store: s}).allEntries(f.Tenant)
		if err != nil {
			return err
		}
		ranges, err := f.ranges(entries)
		if err != nil {
			return err
		}
		var rows []listedUserRow
		for _, of := range ranges {
			found, err := f.read(db, of, s.dialect.bytewise, f.Limit+1-len(rows))
			if err != nil {
				return err
			}
			if rows = append(rows, found...); len(rows) > f.Limit {
				break
			}
		}
		list = nil
		if more = len(rows) > f.Limit; more {
			rows = rows[:f.Limit]
		}
		if len(rows) == 0 {
			return nil
		}
		for _, r := range rows {
			u := ListedUser{Sub: r.Sub, CreatedAt: r.CreatedAt.Time, SeenAt: r.SeenAt.Time, Disabled: r.Disabled, Suspended: r.Suspended}
			u.Issuers, u.Subject = namespaceOf(u.Sub, entries)
			list = append(list, u)
		}
		return s.addSessions(db, f.Tenant, list)
	})
	if err != nil {
		return nil, false, err
	}
	return list, more, nil
}

// check returns an error if there is no such tenant, or if the attribute cannot be
// searched for.
func (f UserFilter) check(db *gorm.DB) error {
	if f.Attribute != nil {
		return checkSearchable(db, f.Tenant, f.Attribute.Name)
	}
	_, err := readySearchable(db, f.Tenant)
	return err
}

// listedUserRow is the row of a user in a list.
type listedUserRow struct {
	Sub                 string
	CreatedAt, SeenAt   Time
	Disabled, Suspended bool
}

// subRange is a range of subs, in the order of their bytes: from begin, which it
// includes, to end, which it does not. An empty end is the end of all.
type subRange struct{ begin, end string }

// prefixed returns the range of the subs with a prefix: a sub is ASCII, and no character
// of it is as high as DEL.
func prefixed(prefix string) subRange {
	if prefix == "" {
		return subRange{}
	}
	return subRange{prefix, prefix + "\x7f"}
}

// and returns the subs that are in both ranges, and whether there can be any.
func (r subRange) and(other subRange) (both subRange, any bool) {
	both = subRange{max(r.begin, other.begin), r.end}
	if r.end == "" || other.end != "" && other.end < r.end {
		both.end = other.end
	}
	return both, both.end == "" || both.begin < both.end
}

// read returns the users of a range after f.After, at most limit of them.
func (f UserFilter) read(db *gorm.DB, of subRange, bytewise string, limit int) (rows []listedUserRow, err error) {
	where, args := "tenant_id = ? AND sub"+bytewise+" > ? AND sub"+bytewise+" >= ?", []any{f.Tenant, f.After, of.begin}
	if of.end != "" {
		where, args = where+" AND sub"+bytewise+" < ?", append(args, of.end)
	}
	from := "users WHERE " + where
	if m := f.Attribute; m != nil {
		from = "users WHERE tenant_id = ? AND sub IN (SELECT sub FROM user_attributes WHERE " + where + " AND name = ? AND value_digest = ? ORDER BY sub" + bytewise + " LIMIT ?)"
		args = append(append([]any{f.Tenant}, args...), m.Name, digestOf(m.Value), limit)
	}
	err = db.Raw("SELECT sub, created_at, seen_at, disabled, suspended_at IS NOT NULL AS suspended FROM "+from+" ORDER BY sub"+bytewise+" LIMIT ?",
		append(args, limit)...).Scan(&rows).Error
	return rows, err
}

// ranges returns the ranges of the users, in order, of which an index reads each. The
// users of an issuer without a prefix are those between the namespaces of the others.
func (f UserFilter) ranges(entries []TrustedIssuer) (ranges []subRange, err error) {
	all := []subRange{{}}
	if f.Issuer != "" {
		if all, err = namespaceRanges(entries, f.Issuer); err != nil {
			return nil, &UnknownIssuerError{f.Tenant, f.Issuer}
		}
	}
	for _, r := range all {
		both, any := r.and(prefixed(f.Prefix))
		if any && (both.end == "" || f.After < both.end) {
			ranges = append(ranges, both)
		}
	}
	return ranges, nil
}

// namespaceRanges returns the ranges of the users of an issuer, in order. ErrNotFound:
// no entry has the id or the URL.
func namespaceRanges(entries []TrustedIssuer, issuer string) (ranges []subRange, err error) {
	var prefixes []string // of every namespace
	found, outside := false, false
	for _, e := range entries {
		prefix := e.Settings.SubjectPrefix
		if prefix != "" {
			prefixes = append(prefixes, prefix)
		}
		if !e.named(issuer) {
			continue
		}
		found = true
		if outside = outside || prefix == ""; prefix != "" {
			ranges = append(ranges, prefixed(prefix))
		}
	}
	if !found {
		return nil, ErrNotFound
	}
	if outside {
		slices.Sort(prefixes)
		gap := subRange{}
		for _, prefix := range slices.Compact(prefixes) {
			gap.end = prefix
			ranges = append(ranges, gap)
			gap = subRange{begin: prefixed(prefix).end}
		}
		ranges = append(ranges, gap)
	}
	slices.SortFunc(ranges, func(a, b subRange) int { return strings.Compare(a.begin, b.begin) })
	return slices.Compact(ranges), nil
}

// namespaceOf returns the issuers that may vouch for a sub, and the subject by
// which they know its user.
func namespaceOf(sub string, entries []TrustedIssuer) (issuers []string, subject string) {
	prefix := ""
	for _, e := range entries {
		if strings.HasPrefix(sub, e.Settings.SubjectPrefix) && e.Settings.SubjectPrefix != "" {
			prefix = e.Settings.SubjectPrefix
		}
	}
	for _, e := range entries {
		if e.Settings.SubjectPrefix == prefix && !slices.Contains(issuers, e.Settings.Issuer) {
			issuers = append(issuers, e.Settings.Issuer)
		}
	}
	if len(issuers) == 0 {
		return nil, ""
	}
	slices.Sort(issuers)
	return issuers, strings.TrimPrefix(sub, prefix)
}

// mostCounted is how many stored sessions of each user a list examines: a page of 500
// users could have any number of sessions.
const mostCounted = 10

// addSessions counts the live sessions of the users, and moves SeenAt to the creation of
// their newest session, among the newest mostCounted sessions of each.
func (s *Store) addSessions(db *gorm.DB, tenant string, list []ListedUser) error {
	bySub, subs := map[string]*ListedUser{}, make([]string, len(list))
	for i := range list {
		subs[i] = list[i].Sub
		bySub[list[i].Sub] = &list[i]
	}
	var rows []struct {
		Sub    string
		Newest *string // four words for each session, the newest first; nil: none
	}
	now := At(s.Now())
	err := db.Raw("SELECT sub, (SELECT "+s.dialect.joinText+`(created_at || ' ' || CASE WHEN ended_at IS NULL
				AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?) THEN 'live' ELSE 'over' END || ' ' || client_id || ' ' || issuer_id, ' ')
			FROM (SELECT * FROM sessions WHERE tenant_id = listed.tenant_id AND subject = listed.sub ORDER BY created_at DESC, id DESC LIMIT ?) sessions) AS newest
		FROM users listed WHERE tenant_id = ? AND sub IN ?`, now, now, mostCounted+1, tenant, subs).Scan(&rows).Error
	if err != nil {
		return err
	}
	valid, err := readValidity(db, tenant)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Newest == nil {
			continue
		}
		u, stored := bySub[r.Sub], 0
		for words := range slices.Chunk(strings.Fields(*r.Newest), 4) {
			created, err := strconv.ParseInt(words[0], 10, 64)
			if err != nil {
				return err
			}
			if at := time.UnixMicro(created); at.After(u.SeenAt) {
				u.SeenAt = at
			}
			stored++
			if since, any := valid.since(words[2], words[3]); words[1] == "live" && any && created >= since {
				u.Sessions++
			}
		}
		u.Sessions, u.More = min(u.Sessions, mostCounted), stored > mostCounted
	}
	return nil
}
