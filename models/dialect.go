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

// dialect holds the differences between the two engines.
type dialect struct {
	name      string
	bytesType string // column type of bytes
	fill      string // leaves room in each page, so that refreshed rows stay in it
	forUpdate string // locks the rows that are read
	ping      string // statement of Ping
	ifNew     string // adds a column only if it does not exist
	bytewise  string // compares text by its bytes, whatever the collation of the database
	joinText  string // the aggregate function that joins texts
	jsonName  string // the member name of the column settings, which is JSON
	nested    bool   // WITH may contain an INSERT or an UPDATE
	open      func(ctx context.Context, s *Store, url string, opts Options) error
}

var (
	postgresDialect = dialect{name: "postgres", bytesType: "BYTEA", fill: " WITH (fillfactor = 70)", forUpdate: " FOR UPDATE", ping: "SHOW transaction_read_only", ifNew: "IF NOT EXISTS", bytewise: ` COLLATE "C"`, joinText: "string_agg", jsonName: "COALESCE(settings::json ->> 'name', '')", nested: true, open: openPostgres}
	sqliteDialect   = dialect{name: "sqlite", bytesType: "BLOB", joinText: "group_concat", jsonName: "COALESCE(json_extract(settings, '$.name'), '')", ping: "SELECT 1", open: openSQLite} // no forUpdate: a transaction holds the only writer
)

// dialectFor chooses the dialect by the scheme of the URL. Its error does not
// quote the URL, which may contain a password.
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

// withChange returns the beginning of a statement that changes at most one row:
// in what follows, the table `changed` has a row if the change found one. On
// PostgreSQL the change is part of the statement, which sees the database as it
// was before; on SQLite the change is made at once.
func (d dialect) withChange(db *gorm.DB, change string, args ...any) (with string, left []any, err error) {
	if d.nested {
		return "WITH changed AS (" + change + " RETURNING 1) ", args, nil
	}
	done := db.Exec(change, args...)
	return fmt.Sprintf("WITH changed AS (SELECT 1 LIMIT %d) ", done.RowsAffected), nil, done.Error
}

// withExtraChange adds a change of another table to the beginning that
// withChange returned. That change is made whether or not the first one found a
// row.
func (d dialect) withExtraChange(db *gorm.DB, with string, args []any, change *statement) (string, []any, error) {
	switch {
	case change == nil:
		return with, args, nil
	case d.nested:
		return with + ", extra AS (" + change.text + " RETURNING 1) ", append(args, change.args...), nil
	default:
		return with, args, db.Exec(change.text, change.args...).Error
	}
}

// gormConfig disables what GORM would do on its own. Its prepared statements
// are one such thing: pgx has better ones, SQLite's driver compiles every
// statement again anyway, and for a caller that has gone away GORM returns a
// row that panics when it is read.
func gormConfig() *gorm.Config {
	return &gorm.Config{
		SkipDefaultTransaction: true,
		Logger:                 logger.Discard,
		DisableAutomaticPing:   true,
		NamingStrategy:         tableNames{},
	}
}

// tableNames names tables as GORM does by default. It computes each plural,
// which takes many regular expressions, once per process instead of once per
// Store.
type tableNames struct{ schema.NamingStrategy }

var plurals sync.Map // by type name

// TableName implements schema.Namer.
func (n tableNames) TableName(name string) string {
	known, ok := plurals.Load(name)
	if !ok {
		known, _ = plurals.LoadOrStore(name, n.NamingStrategy.TableName(name))
	}
	return known.(string)
}

// openSQLite opens one writer and a few readers. In WAL mode, readers see the
// last commit and never wait, and a single writer never gets BUSY_SNAPSHOT.
func openSQLite(ctx context.Context, s *Store, dsn string, _ Options) error {
	path := strings.TrimPrefix(strings.TrimPrefix(dsn, "sqlite:"), "//")
	if path == "" {
		return errors.New("sqlite: needs a path, as in sqlite:latchkey.db")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite would let every user read it
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
	s.probe = newProbe(pool, probeSQLite)
	return s.Ping(ctx)
}
