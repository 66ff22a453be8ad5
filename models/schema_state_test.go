package models_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

func TestASchemaOfALaterReleaseIsReportedAndRejectedIfItDemandsTheRelease(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		if schema, err := w.Schema(t.Context()); err != nil || schema.Empty || len(schema.Missing)+len(schema.Unknown) > 0 {
			t.Errorf("a current schema is %+v, %v", schema, err)
		}
		w.exec("INSERT INTO migrations (id) VALUES (?)", "9999_later")
		if schema, err := w.Schema(t.Context()); err != nil || strings.Join(schema.Unknown, " ") != "9999_later" {
			t.Errorf("a newer schema is %+v, %v", schema, err)
		}
		w.exec("INSERT INTO settings (name, value) VALUES (?, ?)", "needs_migration", "0001_init")
		if _, err := w.Schema(t.Context()); err != nil {
			t.Errorf("a schema that needs what this release has: %v", err)
		}
		w.exec("UPDATE settings SET value = ? WHERE name = ?", "9999_later", "needs_migration")
		if _, err := w.Schema(t.Context()); err == nil || !strings.Contains(err.Error(), "9999_later") {
			t.Errorf("a schema that needs a later release: %v", err)
		}
		if err := w.Migrate(t.Context()); err == nil {
			t.Error("it was migrated")
		}
	})
}

// Every program has a table of users, and many one of migrations.
func TestTablesOfAnotherProgramAreReported(t *testing.T) {
	for name, statements := range map[string][]string{
		"migrations": {"CREATE TABLE migrations (id INTEGER, name TEXT)", "INSERT INTO migrations VALUES (1, 'create_users')"},
		"users":      {"CREATE TABLE users (id INTEGER)"},
		"sessions":   {"CREATE TABLE migrations (id TEXT)", "CREATE TABLE sessions (id INTEGER)"},
	} {
		t.Run(name, func(t *testing.T) {
			testdb.EachEmpty(t, func(t *testing.T, url string) {
				db := connect(t, url)
				for _, statement := range statements {
					_, err := db.Exec(statement)
					must(t, err)
				}
				store := open(t, url, models.Options{})
				for _, err := range []error{store.Migrate(t.Context()), func() error { _, err := store.Schema(t.Context()); return err }()} {
					if err == nil || !strings.Contains(err.Error(), `"`+name+`"`) || !strings.Contains(err.Error(), "database.url") {
						t.Errorf("returned %v", err)
					}
				}
			})
		})
	}
}

func TestASeparateSchemaCoexistsWithAnotherProgram(t *testing.T) {
	shared := testdb.EmptyPostgres(t)
	db := connect(t, shared)
	for _, statement := range []string{"CREATE TABLE migrations (id INTEGER)", "CREATE TABLE users (id INTEGER)"} {
		_, err := db.Exec(statement)
		must(t, err)
	}
	u, err := url.Parse(shared)
	must(t, err)
	query := u.Query()
	query.Set("search_path", "latchkey")
	u.RawQuery = query.Encode()
	own := u.String()
	store := open(t, own, models.Options{})
	if err := store.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "CREATE SCHEMA") {
		t.Errorf("without the schema: %v", err)
	}
	_, err = db.Exec("CREATE SCHEMA latchkey")
	must(t, err)
	must(t, open(t, own, models.Options{}).Migrate(t.Context()))
	w := newFixture(t, own)
	w.rotate(w.create(w.alice()), 0, 2)
}

func TestAMissingPermissionIsReportedAtOnce(t *testing.T) {
	cluster := testdb.NewCluster(t)
	cluster.Execute("CREATE ROLE app LOGIN PASSWORD 'secret'")
	u, err := url.Parse(cluster.URL())
	must(t, err)
	u.User = url.UserPassword("app", "secret")
	attempts := new(statements)
	store := open(t, u.String(), models.Options{Tracer: attempts})
	before := attempts.sent.Load()
	err = store.Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "permission denied for schema public") || !strings.Contains(err.Error(), "GRANT") {
		t.Errorf("returned %v", err)
	}
	if sent := attempts.sent.Load() - before; sent > 12 {
		t.Errorf("%d statements were sent: it was tried again", sent)
	}
}
