package testdb

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// identity identifies a database regardless of its name.
const identity = "SELECT oid::int FROM pg_database WHERE datname = current_database()"

func TestADatabaseWithChangedRowsIsReused(t *testing.T) {
	forgetIdle()
	var before int
	t.Run("writes", func(t *testing.T) {
		url := Postgres(t)
		before = query(t, url, identity)
		query(t, url, "INSERT INTO notes SELECT generate_series(1, 100)")
		query(t, url, "DELETE FROM notes WHERE n = 7")
	})
	url := Postgres(t)
	if after := query(t, url, identity); after != before {
		t.Errorf("database %d came after %d", after, before)
	}
	if n := query(t, url, "SELECT sum(n) FROM notes"); n != 7 {
		t.Errorf("its rows add up to %d", n)
	}
}

func TestADatabaseWithAChangedSchemaIsNotReused(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, url string){
		"column":    run("ALTER TABLE notes ADD m int"),
		"default":   run("ALTER TABLE notes ALTER n SET DEFAULT 1"),
		"table":     run("CREATE TABLE more (n int)"),
		"index":     run("CREATE INDEX ON notes (n)"),
		"check":     run("ALTER TABLE notes ADD CHECK (n < 100)"),
		"function":  run("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
		"trigger":   run("CREATE TRIGGER t BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
		"schema":    run("CREATE SCHEMA more"),
		"right":     run("REVOKE SELECT ON notes FROM CURRENT_USER"),
		"setting":   run("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 1', current_database()); END $$"),
		"much data": run("INSERT INTO notes SELECT generate_series(1, 100000)"),
	} {
		t.Run(name, func(t *testing.T) {
			forgetIdle()
			var before int
			t.Run("changes", func(t *testing.T) {
				url := Postgres(t)
				before = query(t, url, identity)
				change(t, url)
			})
			if after := query(t, Postgres(t), identity); after == before {
				t.Error("it is used again")
			}
		})
	}
}

func TestAnOpenDatabaseIsNotReused(t *testing.T) {
	forgetIdle()
	var conn *pgx.Conn
	var before int
	t.Run("leaks a connection", func(t *testing.T) {
		url := Postgres(t)
		before = query(t, url, identity)
		var err error
		if conn, err = Connect(t.Context(), url); err != nil {
			t.Fatal(err)
		}
	})
	if after := query(t, Postgres(t), identity); after == before {
		t.Error("it is used again")
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the connection outlived its database")
	}
}

func run(statement string) func(t *testing.T, url string) {
	return func(t *testing.T, url string) {
		conn, err := connect(t, url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// forgetIdle drops the idle databases, so that the next idle one is from this test.
func forgetIdle() {
	idle.Lock()
	defer idle.Unlock()
	idle.databases = nil
}
