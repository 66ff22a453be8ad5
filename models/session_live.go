package models

import (
	"context"
	"errors"

	"gorm.io/gorm"
)

// ManySessions is the number at which LiveSessions and CountLive stop counting.
const ManySessions = 10_000

// mostStored is the maximum number of stored sessions among which live ones are counted.
const mostStored = ManySessions + 1

// ErrTooManyStored is the error of counting the live sessions among more than 10,000
// stored ones.
var ErrTooManyStored = errors.New("there are too many stored sessions to count the live ones")

// LiveSessions counts the live sessions that suspending ref would end, up to
// ManySessions + 1. It examines the newest ManySessions + 1 stored sessions. If not all
// of them are live, and there may be more, it relies on what SyncSessionCounts knows, or
// else returns ErrTooManyStored.
func (s *Store) LiveSessions(ctx context.Context, ref Ref) (n int, err error) {
	indexed, args := "tenant_id = ?", []any{ref.Tenant}
	condition, conditionArgs := "", []any{}
	switch ref.Kind {
	case KindClient:
		indexed, args = indexed+" AND client_id = ?", append(args, ref.ID)
	case KindUser:
		indexed, args = indexed+" AND subject = ?", append(args, ref.ID)
	case KindIssuer:
		var ids []string
		err := s.query(ctx, func(db *gorm.DB) error {
			entries, err := (&applier{tx: db, store: s}).entries(ref)
			for _, e := range entries {
				ids = append(ids, e.ID)
			}
			return err
		})
		if err != nil || len(ids) == 0 {
			return 0, err
		}
		condition, conditionArgs = " AND issuer_id IN ?", append(conditionArgs, ids)
	}
	n, err = s.countPermitted(ctx, ref.Tenant, newestOf{indexed, args, condition, conditionArgs, At(s.Now())})
	if errors.Is(err, ErrTooManyStored) && s.knownSessions(ref) > ManySessions {
		return ManySessions + 1, nil
	}
	return n, err
}

// knownSessions returns how many sessions a tenant or a client has, as of the last
// SyncSessionCounts. It returns 0 if that is not known, and for users and issuers.
func (s *Store) knownSessions(ref Ref) float64 {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	switch ref.Kind {
	case KindTenant:
		return s.sessions.known[ref.Tenant]
	case KindClient:
		return s.sessions.clients[ClientOf{ref.Tenant, ref.ID}]
	}
	return 0
}

// CountLive counts the sessions of a user, of a client, or of a user at a client that
// EndFound would end, with the limits of LiveSessions.
func (s *Store) CountLive(ctx context.Context, tenant, sub, client string) (n int, err error) {
	newest := newestOf{"tenant_id = ? AND client_id = ?", []any{tenant, client}, "", nil, At(s.Now())}
	if sub != "" {
		newest.indexed, newest.args = "tenant_id = ? AND subject = ?", []any{tenant, sub}
		if client != "" {
			newest.condition, newest.conditionArgs = " AND client_id = ?", []any{client}
		}
	}
	err = s.query(ctx, func(db *gorm.DB) error {
		if n, err = newest.count(db, ""); err != nil || n > ManySessions {
			return err
		}
		return newest.checkAll(db)
	})
	if errors.Is(err, ErrTooManyStored) && sub == "" && s.knownSessions(Ref{KindClient, tenant, client}) > ManySessions {
		return ManySessions + 1, nil
	}
	return n, err
}

// newestOf are the live ones among the newest mostStored sessions that an index finds.
type newestOf struct {
	indexed       string
	args          []any
	condition     string // checked row by row
	conditionArgs []any
	now           Time
}

// from returns the newest sessions, live or not.
func (f newestOf) from() string {
	return "(SELECT * FROM sessions WHERE " + f.indexed + " ORDER BY created_at DESC, id DESC LIMIT ?) sessions"
}

// live returns the rest of a query of the live sessions, and its arguments.
func (f newestOf) live(and string, args ...any) (string, []any) {
	all := append(append(append([]any{}, f.args...), mostStored, f.now, f.now), f.conditionArgs...)
	return " FROM " + f.from() + ` WHERE ended_at IS NULL AND absolute_expires_at > ?
		AND (idle_expires_at IS NULL OR idle_expires_at > ?)` + f.condition + and, append(all, args...)
}

func (f newestOf) count(db *gorm.DB, and string, args ...any) (n int, err error) {
	from, all := f.live(and, args...)
	err = db.Raw("SELECT count(*)"+from, all...).Row().Scan(&n)
	return n, err
}

// checkAll returns ErrTooManyStored if there may be older sessions.
func (f newestOf) checkAll(db *gorm.DB) error {
	var stored int
	err := db.Raw("SELECT count(*) FROM "+f.from(), append(append([]any{}, f.args...), mostStored)...).Row().Scan(&stored)
	if err == nil && stored == mostStored {
		err = ErrTooManyStored
	}
	return err
}

// countPermitted counts the live sessions of a tenant as permitted and notDisabled would,
// except that it does not check users, whose sessions end when they are disabled or
// suspended. Checking each client and issuer once costs less than checking each session.
func (s *Store) countPermitted(ctx context.Context, tenant string, f newestOf) (n int, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		n = 0
		from, args := f.live(" GROUP BY client_id, issuer_id")
		var groups []struct {
			ClientID, IssuerID string
			N                  int
			Oldest, Newest     Time
		}
		if err := db.Raw("SELECT client_id, issuer_id, count(*) AS n, min(created_at) AS oldest, max(created_at) AS newest"+from, args...).Scan(&groups).Error; err != nil {
			return err
		}
		if len(groups) > 0 {
			valid, err := readValidity(db, tenant)
			if err != nil {
				return err
			}
			for _, g := range groups {
				since, any := valid.since(g.ClientID, g.IssuerID)
				switch {
				case !any || g.Newest.UnixMicro() < since:
				case g.Oldest.UnixMicro() >= since:
					n += g.N
				default:
					some, err := f.count(db, " AND client_id = ? AND issuer_id = ? AND created_at >= ?", g.ClientID, g.IssuerID, since)
					if err != nil {
						return err
					}
					n += some
				}
			}
		}
		if n > ManySessions {
			return nil
		}
		return f.checkAll(db)
	})
	return n, err
}

// validity knows since when the sessions of a tenant are valid, in microseconds: at each
// client, and through each trusted issuer that is enabled.
type validity struct {
	tenant           int64
	clients, issuers map[string]int64
}

func readValidity(db *gorm.DB, tenant string) (v validity, err error) {
	v = validity{clients: map[string]int64{}, issuers: map[string]int64{}}
	var rows []struct {
		Kind, ID string
		Since    int64
	}
	err = db.Raw(`SELECT 't' AS kind, id, COALESCE(sessions_valid_from, 0) AS since FROM tenants WHERE id = @Tenant
		UNION ALL SELECT 'i', id, COALESCE(sessions_valid_from, 0) FROM trusted_issuers WHERE tenant_id = @Tenant AND NOT disabled AND suspended_at IS NULL
		UNION ALL SELECT 'c', id, CASE WHEN sessions_valid_from > created_at THEN sessions_valid_from ELSE created_at END FROM clients WHERE tenant_id = @Tenant`,
		struct{ Tenant string }{tenant}).Scan(&rows).Error
	for _, r := range rows {
		switch r.Kind {
		case "t":
			v.tenant = r.Since
		case "i":
			v.issuers[r.ID] = r.Since
		case "c":
			v.clients[r.ID] = r.Since
		}
	}
	return v, err
}

// since returns when the oldest session that is valid could have begun. It returns false
// if no session is valid.
func (v validity) since(client, issuer string) (since int64, any bool) {
	ofClient, hasClient := v.clients[client]
	ofIssuer, hasIssuer := v.issuers[issuer]
	return max(v.tenant, ofClient, ofIssuer), hasClient && hasIssuer
}
