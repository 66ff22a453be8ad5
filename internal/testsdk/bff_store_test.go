package testsdk

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/bff/sqlstore"
	"github.com/latchkey/latchkey/sdk/go/bff/storetest"

	"github.com/latchkey/latchkey/internal/testdb"
)

// sqlStore opens a store in the database at url.
func sqlStore(t *testing.T, url string, o sqlstore.Options) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	driver, dsn := "pgx", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, dsn, o.Dialect = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_txlock=immediate", sqlstore.SQLite
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := sqlstore.New(db, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // an existing table is not an error
		if err := s.CreateTable(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s, db
}

func TestTheSQLStoreMeetsItsContract(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		s, _ := sqlStore(t, url, sqlstore.Options{})
		storetest.Run(t, func(*testing.T) bff.Store { return s })
	})
}

func TestTheSQLStoreDeletesExpiredSessionsOnly(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		now := time.Unix(1_800_000_000, 0)
		s, db := sqlStore(t, url, sqlstore.Options{Table: "app_sessions", Now: func() time.Time { return now }})
		for key, life := range map[string]time.Duration{"short": time.Hour, "long": 2 * time.Hour} {
			if err := s.Create(t.Context(), key, latchkey.Tokens{SessionID: key, SessionExpiry: now.Add(life)}); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(time.Hour)
		if _, err := s.Load(t.Context(), "short"); !errors.Is(err, bff.ErrNoSession) {
			t.Errorf("an expired session is loaded: %v", err)
		}
		if n, err := s.DeleteExpired(t.Context()); err != nil || n != 1 {
			t.Errorf("deleted %d rows, %v; want 1", n, err)
		}
		var left string
		if err := db.QueryRow("SELECT key FROM app_sessions").Scan(&left); err != nil || left != "long" {
			t.Errorf("the table has %q, %v; want the session that is alive", left, err)
		}
	})
}

func TestTheSQLStoreRejectsTableNamesThatAreSQL(t *testing.T) {
	for _, name := range []string{"sessions; DROP TABLE users", "a b", `"x"`, "a.b.c", "Sessions", "1a", "a--"} {
		if _, err := sqlstore.New(new(sql.DB), sqlstore.Options{Table: name}); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}
