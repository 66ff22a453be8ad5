package models

import (
	"cmp"
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

// The numbers of sessions of tenants and clients are not counted on demand. Each node adds up
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

// ClientOf is a client of a tenant.
type ClientOf struct{ Tenant, Client string }

// sessionHour is the client and the hour of a change.
type sessionHour struct {
	ClientOf
	hour int64
}

// compare orders changes, so that transactions lock their rows in one order.
func (k sessionHour) compare(other sessionHour) int {
	return cmp.Or(strings.Compare(k.Tenant, other.Tenant), strings.Compare(k.Client, other.Client), cmp.Compare(k.hour, other.hour))
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// sessionTally is what a node knows about the number of sessions.
type sessionTally struct {
	mu      sync.Mutex
	changes map[sessionHour]int64
	known   map[string]float64   // by tenant, as last read
	clients map[ClientOf]float64 // the same by client
	begun   time.Time            // when this Store began to count
	count   *recount             // in progress
}

// recount is a count of the table that is in progress.
type recount struct {
	hour    int64
	last    []byte // id of the last session that was counted
	clients map[ClientOf]int64
}

func (t *sessionTally) add(of ClientOf, at time.Time, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes == nil {
		t.changes = map[sessionHour]int64{}
	}
	t.changes[sessionHour{of, hourOf(at)}] += n
}

// note counts a session that was created or ended.
func (t *sessionTally) note(e Event) {
	of := ClientOf{e.TenantID, e.ClientID}
	switch {
	case e.Type == EventSessionCreated:
		t.add(of, e.At, 1)
	case e.Type == EventSessionEnded && e.ended.IsZero():
		t.add(of, e.At, -1)
	case e.Type == EventSessionEnded:
		t.add(of, e.ended, -1)
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

// ClientSessionCounts is SessionCounts by client. A client without sessions is not in
// it. It is empty until the table has been counted by client.
func (s *Store) ClientSessionCounts() map[ClientOf]float64 {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return maps.Clone(s.sessions.clients)
}

// SyncSessionCounts writes what this node has created and ended since the last
// call, under a name that no other node uses, and reads the sums of all nodes.
func (s *Store) SyncSessionCounts(ctx context.Context, node string) error {
	changes := s.sessions.take()
	if len(changes) > 0 {
		err := s.transaction(ctx, func(tx *gorm.DB) error { return addSessions(tx, node, changes) })
		if err != nil {
			for key, n := range changes {
				s.sessions.add(key.ClientOf, time.Unix(key.hour*3600, 0), n)
			}
			return err
		}
	}
	return s.readSessionCounts(ctx)
}

// addSessions adds changes to the rows of a node, by tenant and by client.
func addSessions(tx *gorm.DB, node string, changes map[sessionHour]int64) error {
	tenants := map[sessionHour]int64{}
	for key, n := range changes {
		tenants[sessionHour{ClientOf{Tenant: key.Tenant}, key.hour}] += n
	}
	sorted := func(of map[sessionHour]int64) []sessionHour {
		return slices.SortedFunc(maps.Keys(of), sessionHour.compare)
	}
	for chunk := range slices.Chunk(sorted(tenants), pruneBatch) {
		var args []any
		for _, key := range chunk {
			args = append(args, key.Tenant, node, key.hour, tenants[key])
		}
		err := tx.Exec("INSERT INTO session_counts (tenant_id, node, hour, n) VALUES "+strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", len(chunk)), ", ")+
			" ON CONFLICT (tenant_id, node, hour) DO UPDATE SET n = session_counts.n + excluded.n", args...).Error
		if err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(sorted(changes), pruneBatch) {
		var args []any
		for _, key := range chunk {
			args = append(args, key.Tenant, key.Client, node, key.hour, changes[key])
		}
		err := tx.Exec("INSERT INTO client_session_counts (tenant_id, client_id, node, hour, n) VALUES "+strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?, ?), ", len(chunk)), ", ")+
			" ON CONFLICT (tenant_id, client_id, node, hour) DO UPDATE SET n = client_session_counts.n + excluded.n", args...).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// countEnded counts sessions that a transaction ends without an event for each. It
// gets the client of each session.
func countEnded(tx *gorm.DB, tenant string, at time.Time, clients []string) error {
	changes := map[sessionHour]int64{}
	for _, client := range clients {
		changes[sessionHour{ClientOf{tenant, client}, hourOf(at)}]--
	}
	return addSessions(tx, bulkNode, changes)
}

// readSessionCounts adds up the changes since the table was last counted. The
// row without a tenant records when that was; without it nothing is known.
func (s *Store) readSessionCounts(ctx context.Context) error {
	type row struct {
		TenantID, ClientID string
		N                  int64
	}
	var tenants, clients []row
	err := s.query(ctx, func(db *gorm.DB) error {
		err := db.Raw(`SELECT tenant_id, CAST(sum(n) AS BIGINT) AS n FROM session_counts
			WHERE tenant_id <> '' AND hour >= (SELECT max(hour) FROM session_counts WHERE tenant_id = '') GROUP BY tenant_id`).Scan(&tenants).Error
		if err != nil {
			return err
		}
		return db.Raw(`SELECT tenant_id, client_id, CAST(sum(n) AS BIGINT) AS n FROM client_session_counts
			WHERE tenant_id <> '' AND hour >= (SELECT max(hour) FROM client_session_counts WHERE tenant_id = '')
			GROUP BY tenant_id, client_id HAVING sum(n) > 0`).Scan(&clients).Error
	})
	if err != nil {
		return err
	}
	known, byClient := map[string]float64{}, map[ClientOf]float64{}
	for _, row := range tenants {
		known[row.TenantID] = float64(max(row.N, 0))
	}
	for _, row := range clients {
		byClient[ClientOf{row.TenantID, row.ClientID}] = float64(row.N)
	}
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	s.sessions.known, s.sessions.clients = known, byClient
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
		r = &recount{hour: hourOf(s.Now()), clients: map[ClientOf]int64{}, last: []byte{}}
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
	// A release that did not count by client may have counted the table.
	var tenants, clients sql.NullInt64
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT (SELECT max(hour) FROM session_counts WHERE tenant_id = ''),
			(SELECT max(hour) FROM client_session_counts WHERE tenant_id = '')`).Row().Scan(&tenants, &clients)
	})
	last := min(tenants.Int64, clients.Int64)
	return err == nil && (!tenants.Valid || !clients.Valid || hourOf(now)-last >= int64(recountEvery/time.Hour)), err
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
		TenantID, ClientID string
		N                  int64
	}
	err = s.longQuery(ctx, func(db *gorm.DB) error {
		return db.Raw(`SELECT tenant_id, client_id, count(*) AS n FROM sessions WHERE `+where+` AND created_at < ? AND (ended_at IS NULL OR ended_at >= ?)
			AND absolute_expires_at >= ? AND (idle_expires_at IS NULL OR idle_expires_at >= ?) GROUP BY tenant_id, client_id`, append(args, at, at, at, at)...).Scan(&found).Error
	})
	if err != nil {
		return false, err
	}
	for _, row := range found {
		r.clients[ClientOf{row.TenantID, row.ClientID}] += row.N
	}
	r.last = end
	return more, nil
}

// storeRecount makes the count the base of the sums.
func (s *Store) storeRecount(ctx context.Context, r *recount) error {
	r.clients[ClientOf{}] = 0 // records that the table was counted
	return s.longTransaction(ctx, func(tx *gorm.DB) error {
		for _, table := range []string{"session_counts", "client_session_counts"} {
			if err := tx.Exec("DELETE FROM "+table+" WHERE hour < ? OR hour = ? AND node = ''", r.hour, r.hour).Error; err != nil {
				return err
			}
		}
		counts := map[sessionHour]int64{}
		for of, n := range r.clients {
			counts[sessionHour{of, r.hour}] = n
		}
		return addSessions(tx, "", counts)
	})
}
