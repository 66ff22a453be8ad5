package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/glebarez/sqlite"
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"
)

// Tracer sees every statement sent to PostgreSQL.
type Tracer = pgx.QueryTracer

// dialect is what differs between the two engines.
type dialect struct {
	name      string
	bytesType string // column type of opaque bytes
	fill      string // leaves room in a page, so that refreshes stay in it
	forUpdate string // takes a row that is read
	ping      string // what Ping asks
	nested    bool   // WITH may hold an INSERT or an UPDATE
	open      func(ctx context.Context, s *Store, url string, opts Options) error
}

var (
	postgresDialect = dialect{name: "postgres", bytesType: "BYTEA", fill: " WITH (fillfactor = 70)", forUpdate: " FOR UPDATE", ping: "SHOW transaction_read_only", nested: true, open: openPostgres}
	sqliteDialect   = dialect{name: "sqlite", bytesType: "BLOB", ping: "SELECT 1", open: openSQLite} // its transactions hold the only writer
)

// dialectFor names no more of the URL than its scheme: the rest may hold a password.
func dialectFor(url string) (dialect, error) {
	scheme, _, _ := strings.Cut(url, ":")
	switch scheme {
	case "sqlite":
		return sqliteDialect, nil
	case "postgres", "postgresql":
		return postgresDialect, nil
	default:
		return dialect{}, errors.New("database URL must begin with sqlite: or postgres://")
	}
}

// changed begins a statement with a change of at most one row: in what follows,
// `changed` is a table that has a row if the change found one. On PostgreSQL it
// is all one statement, which sees the database as it was before; on SQLite
// the change is carried out at once.
func (d dialect) changed(db *gorm.DB, change string, args ...any) (with string, left []any, err error) {
	if d.nested {
		return "WITH changed AS (" + change + " RETURNING 1) ", args, nil
	}
	done := db.Exec(change, args...)
	return fmt.Sprintf("WITH changed AS (SELECT 1 LIMIT %d) ", done.RowsAffected), nil, done.Error
}

// beside adds a change of another table to what changed began. It is carried
// out whether that change found a row or not.
func (d dialect) beside(db *gorm.DB, with string, args []any, change *statement) (string, []any, error) {
	switch {
	case change == nil:
		return with, args, nil
	case d.nested:
		return with + ", beside AS (" + change.text + " RETURNING 1) ", append(args, change.args...), nil
	default:
		return with, args, db.Exec(change.text, change.args...).Error
	}
}

// gormConfig switches off what GORM would do on its own. Its prepared
// statements are one such thing: pgx keeps better ones, SQLite's driver
// compiles a statement anew each time anyway, and a caller that has gone away
// makes GORM return a row that panics when it is read.
func gormConfig() *gorm.Config {
	return &gorm.Config{
		SkipDefaultTransaction: true,
		Logger:                 logger.Discard,
		DisableAutomaticPing:   true,
		NamingStrategy:         tableNames{},
	}
}

// tableNames names tables as GORM does by default, but looks for each plural, by
// many regular expressions, once in a process and not once for each Store.
type tableNames struct{ schema.NamingStrategy }

var plurals sync.Map // by name of the type

// TableName implements schema.Namer.
func (n tableNames) TableName(name string) string {
	known, ok := plurals.Load(name)
	if !ok {
		known, _ = plurals.LoadOrStore(name, n.NamingStrategy.TableName(name))
	}
	return known.(string)
}

// openSQLite opens one writer and a few readers: in WAL mode readers see the
// last commit and never wait, and a single writer never meets BUSY_SNAPSHOT.
func openSQLite(ctx context.Context, s *Store, dsn string, _ Options) error {
	path := strings.TrimPrefix(strings.TrimPrefix(dsn, "sqlite:"), "//")
	if path == "" {
		return errors.New("sqlite: needs a path, as in sqlite:latchkey.db")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite would let everybody read it
	if err != nil {
		return err
	}
	file.Close()
	pragmas := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}}
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas.Encode()
	open := func(connections int) (*gorm.DB, error) {
		db, err := gorm.Open(sqlite.Open(name), gormConfig())
		if err != nil {
			return nil, err
		}
		pool, err := db.DB()
		if err != nil {
			return nil, err
		}
		pool.SetMaxOpenConns(connections)
		pool.SetMaxIdleConns(connections)
		return db, nil
	}
	if s.write, err = open(1); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if s.read, err = open(4); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	pool, err := sql.Open(sqlite.DriverName, name)
	if err != nil {
		return err
	}
	s.probe = newProbe(pool, askSQLite)
	return s.Ping(ctx)
}
