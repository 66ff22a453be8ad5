package models

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
)

// The statistics of a tenant are sums by the minute and by the day. Each node counts
// in memory, and adds its counts to its own rows every few seconds.
const (
	statMinutes = 2 * time.Hour       // how long sums by the minute are kept
	statDays    = 32 * 24 * time.Hour // how long sums by the day are kept
	maxStats    = 100_000             // bounds the counters of a node that are not written yet
)

const (
	byMinute = "minute"
	byDay    = "day"
)

// statKey identifies a counter of a node.
type statKey struct {
	tenant, name string
	minute       int64 // Unix time
}

// statTally holds the counts that a node has not written yet.
type statTally struct {
	mu      sync.Mutex
	changes map[statKey]int64
}

func (t *statTally) add(key statKey, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes == nil {
		t.changes = map[statKey]int64{}
	}
	if _, known := t.changes[key]; known || len(t.changes) < maxStats {
		t.changes[key] += n
	}
}

// AddStat increments a counter of a tenant in memory. SyncStats writes it.
func (s *Store) AddStat(tenant, name string) {
	s.stats.add(statKey{tenant, name, s.Now().Truncate(time.Minute).Unix()}, 1)
}

// SyncStats writes what this node has counted since the last call. No other node may
// have the same name. If it fails, the counts are kept for the next call.
func (s *Store) SyncStats(ctx context.Context, node string) error {
	s.stats.mu.Lock()
	changes := s.stats.changes
	s.stats.changes = nil
	s.stats.mu.Unlock()
	if len(changes) == 0 {
		return nil
	}
	type row struct {
		tenant, name, period string
		start                int64
	}
	sums := map[row]int64{}
	for key, n := range changes {
		sums[row{key.tenant, key.name, byMinute, key.minute}] += n
		sums[row{key.tenant, key.name, byDay, key.minute / 86400 * 86400}] += n
	}
	rows := make([]row, 0, len(sums))
	for r := range sums {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int { // every node locks rows in this order
		return strings.Compare(a.tenant+"\x00"+a.name+"\x00"+a.period, b.tenant+"\x00"+b.name+"\x00"+b.period)
	})
	err := s.transaction(ctx, func(tx *gorm.DB) error {
		for _, r := range rows {
			err := tx.Exec(`INSERT INTO stats (tenant_id, name, period, start, node, n) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (tenant_id, period, start, name, node) DO UPDATE SET n = stats.n + excluded.n`, r.tenant, r.name, r.period, r.start, node, sums[r]).Error
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for key, n := range changes {
			s.stats.add(key, n)
		}
	}
	return err
}

// PruneStats deletes sums that have been kept long enough.
func (s *Store) PruneStats(ctx context.Context) error {
	now := s.Now()
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("DELETE FROM stats WHERE period = ? AND start < ? OR period = ? AND start < ?",
			byMinute, now.Add(-statMinutes).Unix(), byDay, now.Add(-statDays).Unix()).Error
	})
}

// Stat is a sum of a tenant over a minute or a day.
type Stat struct {
	Tenant, Name string
	Day          bool // over a day; otherwise over a minute
	Start        time.Time
	N            int64
}

// Stats returns the sums of the last hour by the minute and of the last 30 days by the
// day. only lists the ids of the tenants to return; nil means all.
func (s *Store) Stats(ctx context.Context, only []string) ([]Stat, error) {
	now := s.Now()
	where, args := "(period = ? AND start >= ? OR period = ? AND start >= ?)", []any{byMinute, now.Add(-time.Hour).Unix(), byDay, now.Add(-30 * 24 * time.Hour).Unix()}
	if only != nil {
		where, args = where+" AND tenant_id IN ?", append(args, only)
	}
	var list []Stat
	err := s.longQuery(ctx, func(db *gorm.DB) (err error) {
		list, err = collect(db.Raw("SELECT tenant_id, name, period, start, sum(n) FROM stats WHERE "+where+
			" GROUP BY tenant_id, name, period, start ORDER BY period, start, tenant_id, name", args...), func(rows *sql.Rows) (st Stat, err error) {
			var period string
			var start int64
			err = rows.Scan(&st.Tenant, &st.Name, &period, &start, &st.N)
			st.Day, st.Start = period == byDay, time.Unix(start, 0).UTC()
			return st, err
		})
		return err
	})
	return list, err
}
