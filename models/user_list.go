package models

import (
	"context"
	"fmt"
	"slices"
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
		where, args, err := f.condition(entries, s.dialect.bytewise)
		if err != nil {
			return err
		}
		var rows []struct {
			Sub                 string
			CreatedAt, SeenAt   Time
			Disabled, Suspended bool
		}
		from := "users WHERE " + where
		if m := f.Attribute; m != nil {
			from = "users WHERE tenant_id = ? AND sub IN (SELECT sub FROM user_attributes WHERE " + where + " AND name = ? AND value_digest = ? ORDER BY sub" + s.dialect.bytewise + " LIMIT ?)"
			args = append(append([]any{f.Tenant}, args...), m.Name, digestOf(m.Value), f.Limit+1)
		}
		err = db.Raw("SELECT sub, created_at, seen_at, disabled, suspended_at IS NOT NULL AS suspended FROM "+from+" ORDER BY sub"+s.dialect.bytewise+" LIMIT ?",
			append(args, f.Limit+1)...).Scan(&rows).Error
		list = nil
		if more = len(rows) > f.Limit; more {
			rows = rows[:f.Limit]
		}
		if err != nil || len(rows) == 0 {
			return err
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

// condition returns the WHERE clause for the users. It holds for the tables users and
// user_attributes.
func (f UserFilter) condition(entries []TrustedIssuer, bytewise string) (where string, args []any, err error) {
	// An index answers this: a sub is ASCII, and no character of it is as high as DEL.
	begins := "(sub" + bytewise + " >= ? AND sub" + bytewise + " < ?)"
	prefixed := func(prefix string) []any { return []any{prefix, prefix + "\x7f"} }
	where, args = "tenant_id = ? AND sub"+bytewise+" > ?", []any{f.Tenant, f.After}
	if f.Prefix != "" {
		where, args = where+" AND "+begins, append(args, prefixed(f.Prefix)...)
	}
	if f.Issuer == "" {
		return where, args, nil
	}
	var either []string
	for _, e := range entries {
		if !e.named(f.Issuer) {
			continue
		}
		if prefix := e.Settings.SubjectPrefix; prefix != "" {
			either, args = append(either, begins), append(args, prefixed(prefix)...)
			continue
		}
		outside := []string{"1 = 1"} // every other namespace
		for _, other := range entries {
			if prefix := other.Settings.SubjectPrefix; prefix != "" {
				outside, args = append(outside, "NOT "+begins), append(args, prefixed(prefix)...)
			}
		}
		either = append(either, strings.Join(outside, " AND "))
	}
	if len(either) == 0 {
		return "", nil, &UnknownIssuerError{f.Tenant, f.Issuer}
	}
	return where + " AND (" + strings.Join(either, " OR ") + ")", args, nil
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
const mostCounted = 20

// addSessions counts the live sessions of the users, and moves SeenAt to the creation of
// their newest session, among mostCounted sessions of each.
func (s *Store) addSessions(db *gorm.DB, tenant string, list []ListedUser) error {
	bySub, subs := map[string]*ListedUser{}, make([]string, len(list))
	for i := range list {
		subs[i] = list[i].Sub
		bySub[list[i].Sub] = &list[i]
	}
	var rows []struct {
		Sub     string
		Numbers *string // newest, stored and live ones; nil: none
	}
	now := At(s.Now())
	err := db.Raw(`SELECT sub, (SELECT max(created_at) || ' ' || count(*) || ' ' || count(CASE WHEN ended_at IS NULL
				AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?)`+permitted+notDisabled+` THEN 1 END)
			FROM (SELECT * FROM sessions WHERE tenant_id = listed.tenant_id AND subject = listed.sub LIMIT ?) sessions) AS numbers
		FROM users listed WHERE tenant_id = ? AND sub IN ?`, now, now, mostCounted+1, tenant, subs).Scan(&rows).Error
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Numbers == nil {
			continue
		}
		u := bySub[r.Sub]
		var newest int64
		var stored int
		if _, err := fmt.Sscan(*r.Numbers, &newest, &stored, &u.Sessions); err != nil {
			return err
		}
		u.Sessions, u.More = min(u.Sessions, mostCounted), stored > mostCounted
		if created := time.UnixMicro(newest); created.After(u.SeenAt) {
			u.SeenAt = created
		}
	}
	return nil
}
