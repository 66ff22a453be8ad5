// Package sqlstore keeps the sessions of a [bff.BFF] in a table of an SQL
// database. They survive restarts and are shared by all processes of an app.
//
// The table holds tokens in clear text, under digests of the cookies' values.
// Whoever reads it can use the sessions: protect it like the tokens.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
)

// Dialect is the SQL dialect of a database.
type Dialect int

// The databases that the package is tested with.
const (
	PostgreSQL Dialect = iota // also CockroachDB and other databases with its SQL
	SQLite
)

// Options configure a [Store]. The zero value is for PostgreSQL.
type Options struct {
	Dialect Dialect
	// Table is the name of the table, optionally after a schema and a dot:
	// lower-case letters, digits and underscores. Default: "bff_sessions".
	Table string
	// Now is the clock by which sessions expire. Default: time.Now.
	Now func() time.Time
}

// Store is a [bff.Store] in a table. It is safe for concurrent use.
type Store struct {
	db  *sql.DB
	now func() time.Time

	create, load, update, move, remove, expire string // statements
	tables                                     []string
}

var tableName = regexp.MustCompile(`^([a-z_][a-z0-9_]{0,47}\.)?[a-z_][a-z0-9_]{0,47}$`)

// New returns a store that uses db. The caller closes db. The table must exist:
// see [Store.CreateTable].
func New(db *sql.DB, o Options) (*Store, error) {
	if o.Table == "" {
		o.Table = "bff_sessions"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	var p [5]string // placeholders, counted from 1
	var blob string
	switch o.Dialect {
	case PostgreSQL:
		p, blob = [5]string{"", "$1", "$2", "$3", "$4"}, "BYTEA"
	case SQLite:
		p, blob = [5]string{"", "?1", "?2", "?3", "?4"}, "BLOB"
	default:
		return nil, fmt.Errorf("sqlstore: unknown Dialect %d", o.Dialect)
	}
	if db == nil {
		return nil, errors.New("sqlstore: db is required")
	}
	if !tableName.MatchString(o.Table) {
		return nil, fmt.Errorf("sqlstore: invalid Table %q: expected lower-case letters, digits and underscores", o.Table)
	}
	index := regexp.MustCompile(`^.*\.`).ReplaceAllString(o.Table, "") + "_expiry"
	return &Store{
		db: db, now: o.Now,
		create: "INSERT INTO " + o.Table + " (key, tokens, expires_at) VALUES (" + p[1] + ", " + p[2] + ", " + p[3] + ")" +
			" ON CONFLICT (key) DO UPDATE SET tokens = excluded.tokens, expires_at = excluded.expires_at",
		load:   "SELECT tokens FROM " + o.Table + " WHERE key = " + p[1] + " AND expires_at > " + p[2],
		update: "UPDATE " + o.Table + " SET tokens = " + p[2] + ", expires_at = " + p[3] + " WHERE key = " + p[1] + " AND expires_at > " + p[4],
		move:   "UPDATE " + o.Table + " SET key = " + p[2] + " WHERE key = " + p[1] + " AND expires_at > " + p[3],
		remove: "DELETE FROM " + o.Table + " WHERE key = " + p[1],
		expire: "DELETE FROM " + o.Table + " WHERE expires_at <= " + p[1],
		tables: []string{
			"CREATE TABLE IF NOT EXISTS " + o.Table + " (key TEXT PRIMARY KEY, tokens " + blob + " NOT NULL, expires_at BIGINT NOT NULL)",
			"CREATE INDEX IF NOT EXISTS " + index + " ON " + o.Table + " (expires_at)",
		},
	}, nil
}

// CreateTable creates the table and its index if they do not exist.
func (s *Store) CreateTable(ctx context.Context) error {
	for _, statement := range s.tables {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("sqlstore: create the table: %w", err)
		}
	}
	return nil
}

// DeleteExpired deletes the rows of expired sessions and returns their number.
// Call it about once an hour, from any process. Expired rows are never read,
// but stay until then.
func (s *Store) DeleteExpired(ctx context.Context) (int64, error) {
	done, err := s.db.ExecContext(ctx, s.expire, s.now().Unix())
	if err != nil {
		return 0, fmt.Errorf("sqlstore: delete expired sessions: %w", err)
	}
	return done.RowsAffected()
}

// Create implements [bff.Store].
func (s *Store) Create(ctx context.Context, key string, t latchkey.Tokens) error {
	_, err := s.db.ExecContext(ctx, s.create, key, t.Serialize(), t.SessionExpiry.Unix())
	return wrap("create a session", err)
}

// Load implements [bff.Store].
func (s *Store) Load(ctx context.Context, key string) (latchkey.Tokens, error) {
	var text []byte
	err := s.db.QueryRowContext(ctx, s.load, key, s.now().Unix()).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return latchkey.Tokens{}, bff.ErrNoSession
	}
	if err != nil {
		return latchkey.Tokens{}, wrap("load a session", err)
	}
	return latchkey.ParseTokens(text)
}

// Update implements [bff.Store].
func (s *Store) Update(ctx context.Context, key string, t latchkey.Tokens) error {
	return s.changeOne(ctx, "update a session", s.update, key, t.Serialize(), t.SessionExpiry.Unix(), s.now().Unix())
}

// Move implements [bff.Store].
func (s *Store) Move(ctx context.Context, from, to string) error {
	return s.changeOne(ctx, "move a session", s.move, from, to, s.now().Unix())
}

// Delete implements [bff.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	_, err := s.db.ExecContext(ctx, s.remove, key)
	return wrap("delete a session", err)
}

// changeOne executes a statement that must change one row.
func (s *Store) changeOne(ctx context.Context, what, statement string, args ...any) error {
	done, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return wrap(what, err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 1 {
		return wrap(what, err)
	}
	return bff.ErrNoSession
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlstore: %s: %w", what, err)
}
