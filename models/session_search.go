package models

import (
	"context"
	"strings"
	"time"

	"gorm.io/gorm"
)

// SessionFilter is which sessions of a tenant SearchSessions returns. Empty fields
// do not filter.
type SessionFilter struct {
	Tenant string
	User   string // sub
	Client string
	Issuer string // id of the row of a trusted issuer
	IP     string // of the last activity
	Live   *bool  // whether the session's own row has neither ended nor expired

	CreatedAfter, CreatedBefore time.Time
	ActiveAfter, ActiveBefore   time.Time

	After SessionCursor // where the page before ended
	Limit int
}

// MostExamined bounds how many rows one page of a search reads.
const MostExamined = 10_000

// SearchSessions returns sessions, the newest first, and the cursor of the next page,
// which is zero on the last one. A page reads at most MostExamined rows by an index,
// so it may have fewer sessions than the limit, or none, and still have a next page.
func (s *Store) SearchSessions(ctx context.Context, f SessionFilter) (list []*Session, next SessionCursor, err error) {
	within, withinArgs := f.within()
	filter, filterArgs := f.filter(s.Now())
	err = s.longQuery(ctx, func(db *gorm.DB) error {
		const order = " ORDER BY created_at DESC, id DESC"
		examined := "(SELECT * FROM sessions WHERE " + within + order + " LIMIT ?) sessions"
		args := append(append([]any{}, withinArgs...), MostExamined)
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
		err := db.Raw("SELECT created_at, id FROM sessions WHERE "+within+order+" LIMIT 1 OFFSET ?",
			append(append([]any{}, withinArgs...), MostExamined-1)...).Scan(&last).Error
		if err == nil && len(last) > 0 {
			next = SessionCursor{last[0].CreatedAt.Time, SessionID(last[0].ID)}
		}
		return err
	})
	return list, next, err
}

// within is the condition that an index answers.
func (f SessionFilter) within() (where string, args []any) {
	where, args = "tenant_id = ?", []any{f.Tenant}
	add := func(condition string, values ...any) {
		where, args = where+" AND "+condition, append(args, values...)
	}
	if f.User != "" {
		add("subject = ?", f.User)
	}
	if f.Client != "" {
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

// filter is the condition that is checked row by row.
func (f SessionFilter) filter(now time.Time) (where string, args []any) {
	conditions := []string{"1 = 1"}
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
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
