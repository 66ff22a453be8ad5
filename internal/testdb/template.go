package testdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// prepare brings an empty database to the state in which every test finds its
// own.
var prepare func(url string) error

// UseSchema sets how the schema is made, before the first test. Importing
// internal/testdb/schema does it. It is made once for each engine that a process
// uses; every test gets a copy of the result.
func UseSchema(make func(url string) error) { prepare = make }

var errNoSchema = errors.New("no schema: the test's package must import internal/testdb/schema, or ask for an empty database")

// sqliteTemplate is the content of a prepared database file.
var sqliteTemplate = sync.OnceValues(func() (content []byte, err error) {
	if prepare == nil {
		return nil, errNoSchema
	}
	folder, err := os.MkdirTemp("", "latchkey-template-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	file := filepath.Join(folder, "latchkey.db")
	if err := prepare("sqlite:" + file); err != nil {
		return nil, err
	}
	if _, err := os.Stat(file + "-wal"); err == nil {
		return nil, errors.New("the schema left the SQLite file open: part of it is in the write-ahead log")
	}
	return os.ReadFile(file)
})

// templateOwner is the connection that shows other processes that this one, and
// so its template, is in use. It is closed by the end of the process.
var templateOwner *pgx.Conn

const templatePrefix = "latchkey_template_"

// postgresTemplate is the name of a prepared database.
var postgresTemplate = sync.OnceValues(func() (string, error) {
	if prepare == nil {
		return "", errNoSchema
	}
	admin, err := adminURL()
	if err != nil {
		return "", err
	}
	name := templatePrefix + strings.ToLower(rand.Text())
	if err := claimTemplate(admin, name); err != nil {
		return "", err
	}
	url, err := withDatabase(admin, name)
	if err != nil {
		return "", err
	}
	return name, errors.Join(createDatabase(admin, name, "template0"), prepare(url))
})

// claimTemplate takes a lock that lasts as long as this process, then drops the
// templates of processes that have ended: nothing runs at a process's end that
// could.
func claimTemplate(admin, name string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if templateOwner, err = pgx.Connect(ctx, admin); err != nil {
		return err
	}
	if _, err := templateOwner.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", name); err != nil {
		return err
	}
	rows, err := templateOwner.Query(ctx, "SELECT datname FROM pg_database WHERE starts_with(datname::text, $1)", templatePrefix)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, other := range names {
		if err := dropIfAbandoned(ctx, templateOwner, other); err != nil {
			return fmt.Errorf("drop the template of a process that has ended: %w", err)
		}
	}
	return nil
}

func dropIfAbandoned(ctx context.Context, conn *pgx.Conn, name string) error {
	var abandoned bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtext($1))", name).Scan(&abandoned); err != nil || !abandoned {
		return err
	}
	_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	_, unlock := conn.Exec(ctx, "SELECT pg_advisory_unlock(hashtext($1))", name)
	return errors.Join(err, unlock)
}

// createDatabase needs a template without connections.
func createDatabase(admin, name, template string) error {
	return execute(admin, "CREATE DATABASE "+name+" TEMPLATE "+template)
}
