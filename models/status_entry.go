package models

import (
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"strings"
	"time"

	"gorm.io/gorm"
)

// StatusEntry is a session's place in the status lists of its tenant. No other
// session gets it until the session's row is deleted (session.Retention).
type StatusEntry struct {
	List  int64 // number of the list
	Index int64 // index in the list
}

// statusStride is the largest size of a list.
const statusStride = 1 << 20

// number returns the entry as stored in its column.
func (e *StatusEntry) number() sql.NullInt64 {
	if e == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: e.List*statusStride + e.Index, Valid: true}
}

// statusEntry parses what number returns.
func statusEntry(number sql.NullInt64) *StatusEntry {
	if !number.Valid {
		return nil
	}
	return &StatusEntry{List: number.Int64 / statusStride, Index: number.Int64 % statusStride}
}

// statusDraws is how many entries an exchange draws: enough that one of them is
// nearly always free, and that the share of taken ones shows how full the lists
// are.
const statusDraws = 16

// drawStatusEntry finds a free entry at random, so that an index does not
// reveal when the session began (Token Status List §13.3). If most of the drawn
// entries are taken, it opens another list.
func (s *Store) drawStatusEntry(tx *gorm.DB, tenant string, now time.Time) (StatusEntry, error) {
	for {
		drawn, err := drawStatus(tx, tenant, statusDraws)
		if err != nil {
			return StatusEntry{}, err
		}
		if len(drawn.free) < statusDraws/4 {
			if err := s.openStatusList(tx, tenant, drawn.newest+1, now); err != nil {
				return StatusEntry{}, err
			}
		}
		if len(drawn.free) > 0 {
			return *statusEntry(sql.NullInt64{Int64: drawn.free[0], Valid: true}), nil
		}
	}
}

// openStatusList opens a list unless another node has just done so: of several
// nodes that find the lists full, one opens the next.
func (s *Store) openStatusList(tx *gorm.DB, tenant string, list int64, now time.Time) error {
	return tx.Exec("INSERT INTO status_lists (tenant_id, list, size, opened_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		tenant, list, s.statusSize, At(now)).Error
}

// statusDraw is a sample of the entries of a tenant's open lists.
type statusDraw struct {
	newest int64   // number of the newest list, ended or not; -1 if there is none
	free   []int64 // numbers of the drawn entries that are free, in the order of the draw
}

// drawStatus draws entries uniformly from all open lists. An entry that another
// transaction is about to take counts as free; the constraint decides.
func drawStatus(tx *gorm.DB, tenant string, draws int) (d statusDraw, err error) {
	args := []any{tenant, tenant} // in the order of the statement
	for turn := range draws {
		var chance [16]byte
		rand.Read(chance[:])
		args = append(args, turn, int64(binary.BigEndian.Uint64(chance[:8])>>1), int64(binary.BigEndian.Uint64(chance[8:])>>1))
	}
	_, err = collect(tx.Raw(`WITH opened AS (SELECT list, size, row_number() OVER (ORDER BY list) - 1 AS place FROM status_lists WHERE tenant_id = ? AND ended_at IS NULL),
		known AS (SELECT (SELECT count(*) FROM opened) AS n, (SELECT COALESCE(max(list), -1) FROM status_lists WHERE tenant_id = ?) AS newest),
		draws (turn, list, entry) AS (VALUES `+strings.TrimSuffix(strings.Repeat("(CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT)), ", draws), ", ")+`),
		drawn AS (SELECT d.turn, o.list * ? + d.entry % o.size AS entry
			FROM known k CROSS JOIN draws d JOIN opened o ON o.place = d.list % NULLIF(k.n, 0)),
		free AS (SELECT d.turn, d.entry FROM drawn d WHERE NOT EXISTS (SELECT 1 FROM sessions s WHERE s.tenant_id = ? AND s.status_index = d.entry AND s.status_index IS NOT NULL))
		SELECT k.newest, f.entry FROM known k LEFT JOIN free f ON 1 = 1 ORDER BY f.turn`, append(args, statusStride, tenant)...), func(rows *sql.Rows) (entry sql.NullInt64, err error) {
		if err = rows.Scan(&d.newest, &entry); entry.Valid {
			d.free = append(d.free, entry.Int64)
		}
		return entry, err
	})
	return d, err
}
