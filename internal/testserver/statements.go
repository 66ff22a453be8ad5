package testserver

import (
	"context"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// StatementLog is a Tracer: it records what the driver sends to PostgreSQL.
type StatementLog struct {
	mu   sync.Mutex
	list []string
}

// TraceQueryStart implements pgx.QueryTracer.
func (s *StatementLog) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, strings.ToLower(strings.Join(strings.Fields(data.SQL), " ")))
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (s *StatementLog) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// During returns the statements that do causes.
func (s *StatementLog) During(do func()) []string {
	s.mu.Lock()
	s.list = nil
	s.mu.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list
}

// Reads counts the statements that read a session or a revoked token. A node that
// follows the log also sends other statements.
func (s *StatementLog) Reads(do func()) (n int) {
	for _, statement := range s.During(do) {
		if strings.Contains(statement, "from sessions where id") || strings.Contains(statement, "from revoked_tokens") {
			n++
		}
	}
	return n
}
