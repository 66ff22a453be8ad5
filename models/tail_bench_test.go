package models_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

// What a look costs where the last twenty seconds are known: a node does five a
// second.
func BenchmarkLook(b *testing.B) {
	for _, revoked := range []int{0, 200, 2_000, 20_000} {
		b.Run(fmt.Sprint(revoked), func(b *testing.B) {
			w := newWorld(b, testdb.Postgres(b))
			row := w.create(w.alice())
			insert, err := w.db.Prepare(`INSERT INTO events (id, at, tenant_id, type, client_id, subject, session_id, until, details)
				VALUES ($1, $2, 'default', 'session_ended', 'web', 'alice', $3, $4, '{"reason":"signed_out"}')`)
			must(b, err)
			at := w.Now().UnixMicro()
			for i := range revoked {
				id := binary.BigEndian.AppendUint64(nil, uint64(at))
				_, err := insert.Exec(binary.BigEndian.AppendUint64(id, uint64(i)), at, row.ID[:], at+3600*1e6)
				must(b, err)
			}
			tail := w.tail()
			b.ReportAllocs()
			for b.Loop() {
				must(b, tail.Look(b.Context()))
			}
		})
	}
}
