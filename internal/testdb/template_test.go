package testdb

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

	_ "github.com/glebarez/go-sqlite"
	_ "github.com/jackc/pgx/v5/stdlib"
)

func init() { UseSchema(notes) }

// notes creates a table with one row.
func notes(url string) error {
	driver, name := "pgx", url
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, name = "sqlite", file
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		return err
	}
	_, err = db.Exec("CREATE TABLE notes AS SELECT 7 AS n")
	return errors.Join(err, db.Close())
}

func TestEveryDatabaseIsACopyOfTheSchema(t *testing.T) {
	Each(t, func(t *testing.T, url string) {
		for range 2 { // the second copy must not have the first one's rows
			copied := Postgres(t)
			if strings.HasPrefix(url, "sqlite:") {
				copied = SQLite(t)
			}
			driver, name := "pgx", copied
			if file, ok := strings.CutPrefix(copied, "sqlite:"); ok {
				driver, name = "sqlite", file
			}
			db, err := sql.Open(driver, name)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var rows int
			if err := db.QueryRow("SELECT sum(n) FROM notes").Scan(&rows); err != nil || rows != 7 {
				t.Errorf("the copy holds %d, %v", rows, err)
			}
			if _, err := db.Exec("INSERT INTO notes VALUES (1)"); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAnEmptyDatabaseHasNoSchema(t *testing.T) {
	if n := query(t, EmptyPostgres(t), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 0 {
		t.Errorf("it has %d tables", n)
	}
	if _, err := os.Stat(strings.TrimPrefix(EmptySQLite(t), "sqlite:")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file exists: %v", err)
	}
}

// A killed process leaves its template behind.
func TestTemplatesOfEndedProcessesAreDropped(t *testing.T) {
	admin, err := adminURL()
	if err != nil {
		t.Fatal(err)
	}
	mine, err := postgresTemplate()
	if err != nil {
		t.Fatal(err)
	}
	left := templatePrefix + strings.ToLower(rand.Text())
	if err := createDatabase(admin, left, "template0"); err != nil {
		t.Fatal(err)
	}
	conn, err := Connect(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, name := range []string{left, mine.name} {
		if err := dropIfAbandoned(t.Context(), conn, name); err != nil {
			t.Fatal(err)
		}
	}
	exists := "SELECT count(*) FROM pg_database WHERE datname = '"
	if n := query(t, admin, exists+left+"'"); n != 0 {
		t.Error("the template of no process is still there")
	}
	if n := query(t, admin, exists+mine.name+"'"); n != 1 {
		t.Error("the template of this process was dropped")
	}
}
