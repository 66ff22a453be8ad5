//go:build unix

package models_test

import (
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models/tail"
)

// signedOut writes the ends of n sessions to the log, all at once.
func (w *fixture) signedOut(b *testing.B, sessions int) {
	b.Helper()
	row := w.create(w.alice())
	const insert = `INSERT INTO events (id, at, tenant_id, type, client_id, subject, session_id, until, details)
		SELECT decode(lpad(to_hex($1::bigint), 16, '0') || lpad(to_hex(n), 16, '0'), 'hex'), $1, 'default', 'session_ended', 'web', 'alice', $2, $1 + 3600000000, '{"reason":"signed_out"}'
		FROM generate_series(1, $3) AS n`
	_, err := w.db.Exec(insert, w.Now().UnixMicro(), row.ID[:], sessions)
	must(b, err)
}

// The cost of the first look of a node, which the node waits for before it is
// ready.
func BenchmarkFirstLook(b *testing.B) {
	const revoked = 20_000
	w := newFixture(b, testdb.Postgres(b))
	w.signedOut(b, revoked)
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		must(b, tail.New(w.Store, slog.New(slog.DiscardHandler)).Look(b.Context()))
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N)/revoked, "cpu-ns/row")
}

// cpuTime returns the CPU time of this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// The cost of a look when the last twenty seconds are known: a node does five a
// second.
func BenchmarkLook(b *testing.B) {
	for _, revoked := range []int{0, 200, 2_000, 20_000} {
		b.Run(fmt.Sprint(revoked), func(b *testing.B) {
			w := newFixture(b, testdb.Postgres(b))
			w.signedOut(b, revoked)
			followed := w.tail()
			b.ReportAllocs()
			for b.Loop() {
				must(b, followed.Look(b.Context()))
			}
		})
	}
}
