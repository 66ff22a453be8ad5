package main

import (
	"context"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

// statement runs one statement directly in the database.
func statement(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	conn, err := testdb.Connect(context.Background(), url)
	must(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), sql, args...)
	must(t, err)
}

// count returns the number that a query yields.
func count(t testing.TB, url, sql string, args ...any) (n int) {
	t.Helper()
	conn, err := testdb.Connect(context.Background(), url)
	must(t, err)
	defer conn.Close(context.Background())
	must(t, conn.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}
