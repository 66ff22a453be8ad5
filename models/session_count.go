package models

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
)

// The number of sessions of a tenant is not counted on demand. Each node adds up
// what it creates and ends and periodically writes that to rows of its own, by the
// hour in which it happened. Once a day the table of sessions is counted as it was
// at the beginning of an hour, which replaces the hours before.
const (
	recountEvery = 24 * time.Hour
	// recountAfter is how long after the beginning of an hour it is counted:
	// sessions that ended before have been marked as ended by then.
	recountAfter = 10 * time.Minute
	recountChunk = 5000
	// recountChunks limits the chunks of one call.
	recountChunks = 200
	// bulkNode is the node in the rows of transactions that end many sessions
	// at once.
	bulkNode = "bulk"
)

// sessionHour is the tenant and the hour of a change.
type sessionHour struct {
	tenant string
	hour   int64
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// sessionTally is what a node knows about the number of sessions.
type sessionTally struct {
	mu      sync.Mutex
	changes map[sessionHour]int64
	known   map[string]float64 // as last read
	begun   time.Time          // when this Store began to count
	count   *recount           // in progress
}

// recount is a count of the table that is in progress.
type recount struct {
	hour    int64
	last    []byte // id of the last session that was counted
	tenants map[string]int64
}

func (t *sessionTally) add(tenant string, at time.Time, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes == nil {
		t.changes = map[sessionHour]int64{}
	}
	t.changes[sessionHour{tenant, hourOf(at)}] += n
}

// note counts a session that was created or ended.
func (t *sessionTally) note(e Event) {
	switch {
	case e.Type == EventSessionCreated:
		t.add(e.TenantID, e.At, 1)
	case e.Type == EventSessionEnded && e.ended.IsZero():
		t.add(e.TenantID, e.At, -1)
	case e.Type == EventSessionEnded:
		t.add(e.TenantID, e.ended, -1)
	}
}

// take returns and clears the changes that have not been written.
func (t *sessionTally) take() map[sessionHour]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	changes := t.changes
	t.changes = nil
	return changes
}

// SessionCounts returns how many sessions each tenant has, as of the last
// SyncSessionCounts.
func (s *Store) SessionCounts() map[string]float64 {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return maps.Clone(s.sessions.known)
}

// SyncSessionCounts writes what this node has created and ended since the last
// call, under a name that no other node uses, and reads the sums of all nodes.
func (s *Store) SyncSessionCounts(ctx context.Context, node string) error {
	changes := s.sessions.take()
	keys := slices.SortedFunc(maps.Keys(changes), func(a, b sessionHour) int { return strings.Compare(a.tenant, b.tenant) })
	for chunk := range slices.Chunk(keys, pruneBatch) {
		err := s.exec(ctx, func(db *gorm.DB) error { return addSessions(db, node, chunk, changes) })
		if err != nil {
			for key, n := range changes {
				s.sessions.add(key.tenant, time.Unix(key.hour*3600, 0), n)
			}
			return err
		}
		for _, key := range chunk {
			delete(changes, key)
		}
	}
	return s.readSessionCounts(ctx)
}

// addSessions adds changes to the rows of a node.
func addSessions(db *gorm.DB, node string, keys []sessionHour, changes map[sessionHour]int64) error {
	if len(keys) == 0 {
		return nil
	}
	var args []any
	for _, key := range keys {
		args = append(args, key.tenant, node, key.hour, changes[key])
	}
	return db.Exec("INSERT INTO session_counts (tenant_id, node, hour, n) VALUES "+strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", len(keys)), ", ")+
		" ON CONFLICT (tenant_id, node, hour) DO UPDATE SET n = session_counts.n + excluded.n", args...).Error
}

// countEnded counts sessions that a transaction ends without an event for each.
func countEnded(tx *gorm.DB, tenant string, at time.Time, n int64) error {
	if n == 0 {
		return nil
	}
	key := sessionHour{tenant, hourOf(at)}
	return addSessions(tx, bulkNode, []sessionHour{key}, map[sessionHour]int64{key: -n})
}

// readSessionCounts adds up the changes since the table was last counted. The
// row without a tenant records when that was; without it nothing is known.
func (s *Store) readSessionCounts(ctx context.Context) error {
	var rows []struct {
		TenantID string
		N        int64
	}
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT tenant_id, CAST(sum(n) AS BIGINT) AS n FROM session_counts
			WHERE tenant_id <> '' AND hour >= (SELECT max(hour) FROM session_counts WHERE tenant_id = '') GROUP BY tenant_id`).Scan(&rows).Error
	})
	if err != nil {
		return err
	}
	known := map[string]float64{}
	for _, row := range rows {
		known[row.TenantID] = float64(max(row.N, 0))
	}
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	s.sessions.known = known
	return nil
}

// RecountSessions counts the table of sessions once a day, in chunks by primary
// key, with a limited number of chunks in one call.
func (s *Store) RecountSessions(ctx context.Context) error {
	r := s.sessions.count
	if r != nil && s.Now().Sub(time.Unix(r.hour*3600, 0)) > recountEvery {
		r = nil // rows of sessions that ended since may be deleted
	}
	if r == nil {
		due, err := s.recountDue(ctx)
		if err != nil || !due {
			return err
		}
		r = &recount{hour: hourOf(s.Now()), tenants: map[string]int64{}, last: []byte{}}
	}
	s.sessions.count = r
	for range recountChunks {
		more, err := s.countChunk(ctx, r)
		if err != nil {
			return err
		}
		if !more {
			s.sessions.count = nil
			return s.storeRecount(ctx, r)
		}
	}
	return nil
}

// recountDue reports whether to count as of the beginning of the current hour.
// This node must have counted changes since then: before the first count of a
// database, a node of an earlier release has counted nothing.
func (s *Store) recountDue(ctx context.Context) (bool, error) {
	now := s.Now()
	begin := time.Unix(hourOf(now)*3600, 0)
	if now.Sub(begin) < recountAfter || s.sessions.begun.After(begin) {
		return false, nil
	}
	var last sql.NullInt64
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT max(hour) FROM session_counts WHERE tenant_id = ''").Row().Scan(&last)
	})
	return err == nil && (!last.Valid || hourOf(now)-last.Int64 >= int64(recountEvery/time.Hour)), err
}

// countChunk counts the sessions of the next chunk that were live at the
// beginning of the hour.
func (s *Store) countChunk(ctx context.Context, r *recount) (more bool, err error) {
	var end []byte
	at := r.hour * 3600 * 1e6
	err = s.longQuery(ctx, func(db *gorm.DB) error {
		end = nil
		err := db.Raw("SELECT id FROM sessions WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", r.last, recountChunk-1).Row().Scan(&end)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return false, err
	}
	where, args := "id > ?", []any{r.last}
	if more = len(end) > 0; more {
		where, args = where+" AND id <= ?", append(args, end)
	}
	var found []struct {
		TenantID string
		N        int64
	}
	err = s.longQuery(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT tenant_id, count(*) AS n FROM sessions WHERE `+where+` AND created_at < ? AND (ended_at IS NULL OR ended_at >= ?)
			AND absolute_expires_at >= ? AND (idle_expires_at IS NULL OR idle_expires_at >= ?) GROUP BY tenant_id`, append(args, at, at, at, at)...).Scan(&found).Error
	})
	if err != nil {
		return false, err
	}
	for _, row := range found {
		r.tenants[row.TenantID] += row.N
	}
	r.last = end
	return more, nil
}

// storeRecount makes the count the base of the sums.
func (s *Store) storeRecount(ctx context.Context, r *recount) error {
	r.tenants[""] = 0 // records that the table was counted
	return s.longTransaction(ctx, func(tx *gorm.DB) error {
		if err := tx.Exec("DELETE FROM session_counts WHERE hour < ? OR hour = ? AND node = ''", r.hour, r.hour).Error; err != nil {
			return err
		}
		keys, counts := []sessionHour{}, map[sessionHour]int64{}
		for tenant, n := range r.tenants {
			key := sessionHour{tenant, r.hour}
			keys, counts[key] = append(keys, key), n
		}
		for chunk := range slices.Chunk(keys, pruneBatch) {
			if err := addSessions(tx, "", chunk, counts); err != nil {
				return err
			}
		}
		return nil
	})
}
