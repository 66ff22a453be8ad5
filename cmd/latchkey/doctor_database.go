package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
)

// noticeableOffset is the difference between clocks above which the doctor warns.
const noticeableOffset = time.Second

// database opens and examines the database. empty reports that it has no tables
// yet. If store is nil and empty is false, the database could not be opened or read.
func (d *doctor) database(ctx context.Context) (store *models.Store, empty bool) {
	c := d.config
	if path, missing := missingDatabase(c); missing {
		if folder, err := os.Stat(filepath.Dir(path)); err != nil || !folder.IsDir() {
			d.add(isFault, "database", "the folder of %s does not exist: create it, or change database.url", path)
			return nil, false
		}
		d.add(isOK, "database", "%s does not exist yet: the first start creates it", path)
		return nil, true
	}
	if hosts, err := models.InsecureHosts(c.Database.URL); err == nil && len(hosts) > 0 {
		d.add(isWarning, "database", "the connection may cross a network without verified TLS (%s): add sslmode=verify-full to database.url", strings.Join(hosts, "; "))
	}
	store, err := models.Open(ctx, c.Database.URL, storeOptions(c, quiet))
	if err != nil {
		d.add(isFault, "database", "%v%s", err, databaseAdvice(err))
		return nil, false
	}
	schema, err := store.Schema(ctx)
	if err != nil {
		store.Close()
		d.add(isFault, "database", "%v", err)
		return nil, false
	}
	d.engine(ctx, store)
	d.pooler(store)
	d.clock(store)
	if usable := d.schema(schema); schema.Empty || !usable {
		store.Close()
		return nil, schema.Empty
	}
	return store, false
}

// databaseAdvice suggests what to do if the database cannot be opened.
func databaseAdvice(err error) string {
	switch text := err.Error(); {
	case errors.Is(err, models.ErrReadOnly):
		return ": database.url names a standby or a read-only server; use the primary, or list all servers with target_session_attrs=read-write"
	case strings.Contains(text, "SQLSTATE 28"):
		return ": check the user and password in database.url"
	case strings.Contains(text, "SQLSTATE 3D000"):
		return ": create the database, as described in docs/operations.md"
	case errors.Is(err, models.ErrUnavailable), strings.Contains(text, "failed to connect"):
		return ": check that the database server is running, and that database.url has the right host and port"
	}
	return ""
}

// engine reports the database engine and how many connections are free.
func (d *doctor) engine(ctx context.Context, store *models.Store) {
	engine, err := store.Engine(ctx)
	if err != nil {
		d.add(isFault, "database", "%v", err)
		return
	}
	d.add(isOK, "database", "%s is reachable and writable", engine.Name)
	most, free := engine.MaxConnections, engine.MaxConnections-engine.Connections
	switch {
	case most == 0:
	case engine.NodeMaximum > most:
		d.add(isFault, "connections", "a node opens up to %d connections, but the database server allows only %d in total: lower database.max_connections, or raise max_connections of the database server", engine.NodeMaximum, most)
	case engine.NodeMaximum > free:
		d.add(isWarning, "connections", "a node opens up to %d connections, but only %d of the database server's %d are free: lower database.max_connections, or raise max_connections of the database server", engine.NodeMaximum, free, most)
	default:
		d.add(isOK, "connections", "a node opens up to %d connections, and %d of the database server's %d are free", engine.NodeMaximum, free, most)
	}
}

// pooler reports a connection pooler that loses prepared statements. models.Open
// has detected it.
func (d *doctor) pooler(store *models.Store) {
	if d.config.Database.PreparedStatements && !store.PreparesStatements() {
		d.add(isWarning, "pooler", "a connection pooler in front of PostgreSQL does not keep prepared statements: set database.prepared_statements: false (or, with PgBouncer 1.21 or newer, its max_prepared_statements)")
	}
}

func (d *doctor) clock(store *models.Store) {
	offset := store.ClockOffset().Round(time.Millisecond)
	switch {
	case offset.Abs() > maxClockOffset:
		d.add(isFault, "clock", "the clocks of this machine and the database differ by %s, and above %s a server is not ready: synchronize both clocks (NTP)", offset, maxClockOffset)
	case offset.Abs() > noticeableOffset:
		d.add(isWarning, "clock", "the clocks of this machine and the database differ by %s: synchronize both clocks (NTP)", offset)
	default:
		d.add(isOK, "clock", "the clocks of this machine and the database agree")
	}
}

// schema reports whether this release can use the schema of the database.
func (d *doctor) schema(s *models.Schema) (usable bool) {
	switch {
	case s.Empty:
		d.add(isOK, "schema", "the database is empty: the first start creates the tables")
		return false
	case len(s.Missing) > 0 && d.config.Database.Migrate:
		d.add(isWarning, "schema", "older than this release (missing: %s): the next start migrates it; servers of the previous release can keep running", strings.Join(s.Missing, ", "))
		return false
	case len(s.Missing) > 0:
		d.add(isFault, "schema", "older than this release (missing: %s), and database.migrate is false: run latchkey migrate", strings.Join(s.Missing, ", "))
		return false
	case len(s.Unknown) > 0:
		d.add(isWarning, "schema", "newer than this release (%s): run this release only until all servers are upgraded", strings.Join(s.Unknown, ", "))
	default:
		d.add(isOK, "schema", "%s, the schema of this release", models.NewestMigration())
	}
	return true
}
