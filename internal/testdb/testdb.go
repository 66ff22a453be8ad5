// Package testdb provides every test with its own real database.
//
// PostgreSQL comes from LATCHKEY_TEST_DATABASE_URL if that is set, otherwise
// from a private cluster that the first test of a process starts. The cluster ends with
// the process, however that ends. `make test` sets the variable, so that all packages
// share one cluster. binaries.go finds the server programs.
package testdb

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// EnvURL is the environment variable with the URL of a PostgreSQL server for tests, for
// a role that may create databases.
const EnvURL = "LATCHKEY_TEST_DATABASE_URL"

// waitTimeout bounds each administrative statement and each start of a server. It is
// generous, because a busy machine is slow.
const waitTimeout = 60 * time.Second

// Each runs test once on SQLite and once on PostgreSQL, each time with a new database
// with the current schema (see UseSchema). Both run in parallel after the calling
// function returns, so Each must be its last call. A test that changes shared state,
// such as net.DefaultResolver, must not use it.
func Each(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	onBoth(t, test, SQLite, Postgres)
}

// EachEmpty is Each with databases that have no schema.
func EachEmpty(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	onBoth(t, test, EmptySQLite, EmptyPostgres)
}

func onBoth(t *testing.T, test func(t *testing.T, url string), sqlite, postgres func(testing.TB) string) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, sqlite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, postgres(t))
	})
}

// SQLite returns the URL of a database file with the current schema, which is removed
// after the test.
func SQLite(t testing.TB) string {
	t.Helper()
	content, err := sqliteTemplate()
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	url := EmptySQLite(t)
	if err := os.WriteFile(strings.TrimPrefix(url, "sqlite:"), content, 0o600); err != nil {
		t.Fatalf("testdb: %v", err)
	}
	return url
}

// EmptySQLite returns the URL of a database file that does not exist yet and is removed
// after the test.
func EmptySQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "latchkey.db")
}

// Postgres returns the URL of a PostgreSQL database with the current schema. After the
// test, the database and its connections are dropped. Without a PostgreSQL the test
// fails, because a skipped test proves nothing.
func Postgres(t testing.TB) string {
	t.Helper()
	template, err := postgresTemplate()
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	admin, err := adminURL()
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	b, err := lend(admin, template)
	if err != nil {
		t.Fatalf("testdb: create a database: %v", err)
	}
	t.Cleanup(func() {
		if err := takeBack(admin, b, template.made); err != nil {
			t.Errorf("testdb: remove the test's database: %v", err)
		}
	})
	return in(t, admin, b.name)
}

// EmptyPostgres is Postgres without a schema.
func EmptyPostgres(t testing.TB) string {
	t.Helper()
	admin, err := adminURL()
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	name := "latchkey_test_" + strings.ToLower(rand.Text())
	if err := createDatabase(admin, name, "template0"); err != nil {
		t.Fatalf("testdb: create a database: %v", err)
	}
	t.Cleanup(func() {
		if err := drop(admin, name); err != nil {
			t.Errorf("testdb: drop the test's database: %v", err)
		}
	})
	return in(t, admin, name)
}

func in(t testing.TB, admin, database string) string {
	t.Helper()
	url, err := withDatabase(admin, database)
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	return url
}

// Share starts a private cluster for child processes, which find it through EnvURL. The
// cluster ends with this process even if stop is never called. It does not wait for the
// disk, so its data may be lost in a power failure. The URL is that of a keeper.
func Share() (url string, stop func(), err error) {
	s, err := newServer(false)
	if err != nil {
		return "", nil, err
	}
	k, err := newKeeper(s)
	if err != nil {
		s.close()
		return "", nil, err
	}
	stop = func() {
		k.close()
		s.close()
	}
	return s.urlAt(keeperPort), stop, nil
}

// adminURL returns the URL at which this process creates its databases. A cluster that it
// starts is removed by its guard, which outlives this process.
var adminURL = sync.OnceValues(func() (string, error) {
	if given := os.Getenv(EnvURL); given != "" {
		return given, nil
	}
	url, _, err := Share()
	return url, err
})

func withDatabase(admin, name string) (string, error) {
	u, err := parse(admin)
	if err != nil {
		return "", err
	}
	query := u.Query()
	query.Del("dbname") // it would override the path
	query.Del("database")
	u.Path, u.RawQuery = "/"+name, query.Encode()
	return u.String(), nil
}

// parse accepts only URLs. Its error quotes nothing, because a URL may contain a
// password.
func parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, errors.New("the URL of a PostgreSQL must begin with postgres://")
	}
	return u, nil
}

func execute(url, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	conn, err := Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// await repeats a query, each time on a new connection, until it yields true.
func await(url, query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	for {
		conn, err := Connect(ctx, url)
		if err != nil {
			return err
		}
		var holds bool
		err = conn.QueryRow(ctx, query).Scan(&holds)
		conn.Close(ctx)
		if err != nil || holds {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
