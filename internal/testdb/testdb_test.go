package testdb

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestPostgresReturnsANewEmptyDatabase(t *testing.T) {
	var first string
	ok := t.Run("one", func(t *testing.T) {
		first = EmptyPostgres(t)
		query(t, first, "CREATE TABLE t (n int)")
		if again := EmptyPostgres(t); query(t, again, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") != 0 {
			t.Error("a second database holds the first one's table")
		}
	})
	if !ok {
		return
	}
	if _, err := connect(t, first); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("after its test the database still answers: %v", err)
	}
}

func TestPostgresDropsADatabaseInUse(t *testing.T) {
	var conn *pgx.Conn
	leaked := t.Run("leaks a connection", func(t *testing.T) {
		var err error
		if conn, err = Connect(t.Context(), EmptyPostgres(t)); err != nil {
			t.Fatal(err)
		}
	})
	if !leaked {
		return
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the connection outlived its database")
	}
}

func TestPostgresReturnsManyDatabasesConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { query(t, Postgres(t), "INSERT INTO notes VALUES (1)") })
	}
	wg.Wait()
}

// Commits in a cluster that a test may kill must wait for the disk.
func TestAClusterKeepsCommittedData(t *testing.T) {
	var fsync, commit string
	conn, err := connect(t, NewCluster(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(t.Context(), "SELECT current_setting('fsync'), current_setting('synchronous_commit')").Scan(&fsync, &commit); err != nil {
		t.Fatal(err)
	}
	if fsync != "on" || commit != "on" {
		t.Errorf("fsync = %s, synchronous_commit = %s", fsync, commit)
	}
}

// A server stays alive even if nothing but its guard references it.
func TestASharedServerSurvivesGarbageCollection(t *testing.T) {
	url, _, err := Share()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		runtime.GC()
		query(t, url, "SELECT 1")
	}
}

func TestEachRunsOnBothEngines(t *testing.T) {
	for name, each := range map[string]func(*testing.T, func(*testing.T, string)){"Each": Each, "EachEmpty": EachEmpty} {
		var mu sync.Mutex
		var schemes []string
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, url string) {
				scheme, _, _ := strings.Cut(url, ":")
				mu.Lock()
				defer mu.Unlock()
				schemes = append(schemes, scheme)
			})
		})
		if slices.Sort(schemes); strings.Join(schemes, " ") != "postgres sqlite" {
			t.Errorf("%s ran on %q", name, schemes)
		}
	}
}

func TestDatabaseOfAnAdminURL(t *testing.T) {
	for name, c := range map[string]struct{ admin, want string }{
		"replaces the path":                {"postgres://u:p@h:1/admin?sslmode=disable", "postgres://u:p@h:1/fresh?sslmode=disable"},
		"accepts a URL without a database": {"postgresql://u@h", "postgresql://u@h/fresh"},
		"lets no parameter win":            {"postgres:///?host=/s&dbname=admin", "postgres:///fresh?host=%2Fs"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := withDatabase(c.admin, "fresh"); got != c.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	t.Run("rejects what is no URL and keeps quiet about it", func(t *testing.T) {
		if _, err := withDatabase("host=h password=secret", "fresh"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	})
}

// connect returns a connection that is closed after the test.
func connect(t *testing.T, url string) (*pgx.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := Connect(ctx, url)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the tests break connections
	}
	return conn, err
}

// query runs one statement on a new connection and returns its number, if any.
func query(t *testing.T, url, statement string) int {
	t.Helper()
	conn, err := connect(t, url)
	if err != nil {
		t.Error(err)
		return 0
	}
	rows, err := conn.Query(t.Context(), statement)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer rows.Close()
	var number int
	if rows.Next() {
		if err := rows.Scan(&number); err != nil {
			t.Error(err)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
	return number
}
