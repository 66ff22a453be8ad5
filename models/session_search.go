package models

import (
	"context"
	"strings"
	"time"

	"gorm.io/gorm"
)

// SessionFilter selects the sessions that SearchSessions returns. Empty fields do not
// filter.
type SessionFilter struct {
	Tenant string
	User   string // sub
	Client string
	Issuer string // the id of a trusted issuer's row
	IP     string // the address of the last activity
	Live   *bool  // true: neither ended nor expired, by the session's own row

	CreatedAfter, CreatedBefore time.Time
	ActiveAfter, ActiveBefore   time.Time

	After SessionCursor // the end of the previous page; zero: the first page
	Limit int
}

// MostExamined is the maximum number of rows that one page of a search reads.
const MostExamined = 10_000

// SearchSessions returns a page of sessions, the newest first, and the cursor of the
// next page, which is zero on the last page. A page reads at most MostExamined rows by
// an index, so it may have fewer sessions than the limit, or none, and still have a
// next page.
func (s *Store) SearchSessions(ctx context.Context, f SessionFilter) (list []*Session, next SessionCursor, err error) {
	indexed, indexedArgs := f.indexed()
	filter, filterArgs := f.unindexed(s.Now())
	err = s.longQuery(ctx, func(db *gorm.DB) error {
		const order = " ORDER BY created_at DESC, id DESC"
		examined := "(SELECT * FROM sessions WHERE " + indexed + order + " LIMIT ?) sessions"
		args := append(append([]any{}, indexedArgs...), MostExamined)
		list, err = readSessions(db.Raw("SELECT "+sessionColumns+" FROM "+examined+" WHERE "+filter+order+" LIMIT ?",
			append(append(append([]any{}, args...), filterArgs...), f.Limit+1)...))
		if err != nil {
			return err
		}
		if next = (SessionCursor{}); len(list) > f.Limit {
			list = list[:f.Limit]
			next = list[f.Limit-1].Cursor()
			return nil
		}
		var last []struct {
			CreatedAt Time
			ID        []byte
		}
		err := db.Raw("SELECT created_at, id FROM sessions WHERE "+indexed+order+" LIMIT 1 OFFSET ?",
			append(append([]any{}, indexedArgs...), MostExamined-1)...).Scan(&last).Error
		if err == nil && len(last) > 0 {
			next = SessionCursor{last[0].CreatedAt.Time, SessionID(last[0].ID)}
		}
		return err
	})
	return list, next, err
}

// indexed returns the part of the filter that an index serves.
func (f SessionFilter) indexed() (where string, args []any) {
	where, args = "tenant_id = ?", []any{f.Tenant}
	add := func(condition string, values ...any) {
		where, args = where+" AND "+condition, append(args, values...)
	}
	switch {
	case f.User != "":
		add("subject = ?", f.User)
	case f.Client != "":
		add("client_id = ?", f.Client)
	}
	if !f.CreatedAfter.IsZero() {
		add("created_at >= ?", At(f.CreatedAfter))
	}
	if !f.CreatedBefore.IsZero() {
		add("created_at < ?", At(f.CreatedBefore))
	}
	if f.After != (SessionCursor{}) {
		add("(created_at, id) < (?, ?)", At(f.After.CreatedAt), f.After.ID)
	}
	return where, args
}

// unindexed returns the part of the filter that is checked row by row.
func (f SessionFilter) unindexed(now time.Time) (where string, args []any) {
	conditions := []string{"1 = 1"}
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	if f.User != "" && f.Client != "" {
		add("client_id = ?", f.Client)
	}
	if f.Issuer != "" {
		add("issuer_id = ?", f.Issuer)
	}
	if f.IP != "" {
		add("ip = ?", f.IP)
	}
	if f.Live != nil {
		const alive = "(ended_at IS NULL AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?))"
		if *f.Live {
			add(alive, At(now), At(now))
		} else {
			add("NOT "+alive, At(now), At(now))
		}
	}
	if !f.ActiveAfter.IsZero() {
		add("last_active_at >= ?", At(f.ActiveAfter))
	}
	if !f.ActiveBefore.IsZero() {
		add("last_active_at < ?", At(f.ActiveBefore))
	}
	return strings.Join(conditions, " AND "), args
}
