package models_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

// rotate rotates the session through the given generations.
func (w *fixture) rotate(row *models.Session, from, to uint32) {
	w.Helper()
	for generation := from; generation < to; generation++ {
		w.clock.Advance(time.Second)
		_, err := w.RotateSession(w.Context(), w.step(row, generation))
		must(w, err)
	}
}

// bytes returns the size of the session's row without its counters, of which
// SQLite stores small ones in fewer bytes.
func (w *fixture) bytes() int {
	w.Helper()
	if w.Dialect() == "postgres" {
		return w.number("SELECT pg_column_size(sessions.*) FROM sessions")
	}
	rows, err := w.db.Query("SELECT name FROM pragma_table_info('sessions')")
	must(w, err)
	defer rows.Close()
	var lengths []string
	for rows.Next() {
		var column string
		must(w, rows.Scan(&column))
		lengths = append(lengths, "CASE typeof("+column+") WHEN 'integer' THEN 8 ELSE coalesce(length("+column+"), 0) END")
	}
	must(w, rows.Err())
	return w.number("SELECT " + strings.Join(lengths, " + ") + " FROM sessions")
}

// A session costs the same however long it lives.
func TestRotationsLeaveNothingBehind(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		w.rotate(row, 0, 1)
		before, size := w.rows(), w.bytes()
		w.rotate(row, 1, 100)
		w.wantRows(before)
		if after := w.bytes(); after != size || size < 200 {
			t.Errorf("its row has %d bytes after one rotation and %d after a hundred", size, after)
		}
	})
}

// Heap-only updates leave the indexes alone. PostgreSQL counts them when a
// connection ends. While somebody elsewhere holds an old snapshot a page cannot
// be cleared, and now and then a row has to move to another one; with an index
// on a column that changes no update would be heap-only.
func TestRotationsLeaveTheIndexesAlone(t *testing.T) {
	w := newPostgresFixture(t)
	row := w.create(w.alice())
	w.rotate(row, 0, 100)
	must(t, w.Close())
	const updates = "SELECT coalesce(sum(n_tup_upd), 0) FROM pg_stat_user_tables WHERE relname = 'sessions'"
	for w.number(updates) < 100 && t.Context().Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if hot := w.number(strings.Replace(updates, "n_tup_upd", "n_tup_hot_upd", 1)); hot < 80 {
		t.Errorf("%d of 100 rotations left the indexes alone", hot)
	}
}

// statements counts the statements that are sent to PostgreSQL.
type statements struct{ sent atomic.Int64 }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.sent.Add(1)
	return ctx
}

func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestARotationIsOneStatement(t *testing.T) {
	w := newPostgresFixture(t)
	count := new(statements)
	store := w.another(models.Options{Tracer: count, MaxConnections: 1})
	row := w.create(w.alice())
	before := count.sent.Load()
	_, err := store.RotateSession(t.Context(), w.step(row, 0))
	must(t, err)
	if sent := count.sent.Load() - before; sent != 1 {
		t.Errorf("%d statements were sent, want 1", sent)
	}
}

// Behind a pooler that keeps no prepared statements everything works as well.
func TestEverythingWorksWithoutPreparedStatements(t *testing.T) {
	url := testdb.Postgres(t)
	w := newFixture(t, url)
	w.Store = w.another(models.Options{NoPreparedStatements: true, MaxConnections: 2})
	must(t, w.Migrate(t.Context()))
	w.apply(office())
	row := w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"a": 1}) }))
	w.rotate(row, 0, 3)
	must(t, w.EndSession(t.Context(), row, w.Now(), "revoked"))
	must(t, w.RevokeToken(t.Context(), acme, "web", "jti", nil, w.Now(), w.Now().Add(time.Hour)))
	must(t, w.add(signingKey("k", "RS256", start)))
	if held, err := w.Lease(t.Context(), "prune", "a", w.Now(), time.Minute); !held || err != nil {
		t.Errorf("lease: %v, %v", held, err)
	}
	_, err := w.Prune(t.Context(), w.Now().Add(1000*time.Hour))
	must(t, err)
	if got := w.rows(); got["sessions"] != 0 || got["signing_keys"] != 1 || got["leases"] != 1 {
		t.Errorf("the tables hold %v", got)
	}
}
