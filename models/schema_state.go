package models

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"gorm.io/gorm"
)

// Schema compares what a database holds with what this release knows.
type Schema struct {
	Empty   bool     // no table of Latchkey
	Missing []string // migrations that have not been applied
	Unknown []string // applied ones of a later release with which this one can run
}

// needsMigration is the setting by which a migration excludes every release
// that does not have it. Its value is the id of the migration.
const needsMigration = "needs_migration"

// ownSchema is what to do if tables of another program are in the way.
const ownSchema = `run "CREATE SCHEMA latchkey AUTHORIZATION the_role" and add ?search_path=latchkey to database.url`

// NewestMigration returns the id of the newest migration of this release.
func NewestMigration() string { return migrations[len(migrations)-1].id }

// Schema inspects the database before anything else is read or written. It
// fails if the tables belong to another program, and if a migration requires a
// later release than this one.
func (s *Store) Schema(ctx context.Context) (*Schema, error) {
	tables, err := s.tables(ctx)
	if err != nil {
		return nil, err
	}
	applied, err := s.applied(ctx, tables)
	if err != nil {
		return nil, err
	}
	schema := &Schema{Empty: len(applied) == 0}
	known := make([]string, len(migrations))
	for i, m := range migrations {
		known[i] = m.id
		if !slices.Contains(applied, m.id) {
			schema.Missing = append(schema.Missing, m.id)
		}
	}
	for _, id := range applied {
		if !slices.Contains(known, id) {
			schema.Unknown = append(schema.Unknown, id)
		}
	}
	if len(schema.Unknown) == 0 {
		return schema, nil
	}
	var needed []string
	err = s.queryWithoutSchema(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT value FROM settings WHERE name = ?", needsMigration).Scan(&needed).Error
	})
	if err == nil && len(needed) > 0 && !slices.Contains(known, needed[0]) {
		err = fmt.Errorf("the database schema is too new for this release: it requires a release that has the migration %s", needed[0])
	}
	return schema, err
}

// tables lists the tables of the schema in which a new one would be created.
func (s *Store) tables(ctx context.Context) (names []string, err error) {
	err = s.queryWithoutSchema(ctx, func(db *gorm.DB) error {
		if s.dialect.name == sqliteDialect.name {
			return db.Raw("SELECT name FROM sqlite_master WHERE type = 'table'").Scan(&names).Error
		}
		var schema *string
		if err := db.Raw("SELECT current_schema()").Row().Scan(&schema); err != nil {
			return err
		}
		if schema == nil {
			return fmt.Errorf("no schema of search_path exists, or the role of database.url may not use it: %s", ownSchema)
		}
		// information_schema.tables takes ten times as long and leaves out
		// what the role may not use.
		return db.Raw(`SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = ? AND c.relkind IN ('r', 'p', 'v', 'm', 'f')`, *schema).Scan(&names).Error
	})
	return names, err
}

// applied lists the migrations that were applied, oldest first. Tables without
// the first migration belong to another program.
func (s *Store) applied(ctx context.Context, tables []string) (ids []string, err error) {
	const record = "migrations"
	if slices.Contains(tables, record) {
		err = s.queryWithoutSchema(ctx, func(db *gorm.DB) error {
			return db.Raw("SELECT CAST(id AS TEXT) FROM migrations ORDER BY id").Scan(&ids).Error
		})
		switch {
		case slices.Contains(ids, migrations[0].id):
			return ids, err
		case err != nil && !isInternal(err):
			return nil, err
		case err != nil, len(ids) > 0:
			return nil, s.foreign(record)
		}
	}
	for _, table := range ownTables() {
		if slices.Contains(tables, table) {
			return nil, s.foreign(table)
		}
	}
	return nil, nil
}

// foreign returns the error for a table that belongs to another program.
func (s *Store) foreign(table string) error {
	wayOut := ownSchema
	if s.dialect.name == sqliteDialect.name {
		wayOut = "give another file in database.url"
	}
	return fmt.Errorf("the table %q of the database belongs to another program: %s", table, wayOut)
}

var createsTable = regexp.MustCompile(`^CREATE TABLE (\w+)`)

// ownTables returns the tables that the migrations create, in alphabetical
// order.
func ownTables() (names []string) {
	for _, m := range migrations {
		for _, statement := range m.statements {
			if found := createsTable.FindStringSubmatch(statement); found != nil {
				names = append(names, found[1])
			}
		}
	}
	slices.Sort(names)
	return names
}
