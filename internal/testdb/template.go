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

// prepare brings an empty database to the initial state of every test.
var prepare func(url string) error

// UseSchema sets the function that creates the schema, before the first test. Importing
// internal/testdb/schema calls it. Each process creates the schema once for each engine
// that it uses, and every test gets a copy.
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

// templateOwner is the connection whose lock shows other processes that the template and
// the idle databases of this process are in use. The end of the process closes it.
var templateOwner struct {
	sync.Mutex
	conn *pgx.Conn
}

const templatePrefix = "latchkey_template_"

type template struct {
	name string
	made made
}

// postgresTemplate is a prepared database.
var postgresTemplate = sync.OnceValues(func() (t template, err error) {
	if prepare == nil {
		return t, errNoSchema
	}
	admin, err := adminURL()
	if err != nil {
		return t, err
	}
	if err := dropAbandoned(admin); err != nil {
		return t, err
	}
	t.name = templatePrefix + strings.ToLower(rand.Text())
	if err := claim(t.name); err != nil {
		return t, err
	}
	url, err := withDatabase(admin, t.name)
	if err != nil {
		return t, err
	}
	if err := errors.Join(createDatabase(admin, t.name, "template0"), prepare(url)); err != nil {
		return t, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	conn, err := Connect(ctx, url)
	if err != nil {
		return t, err
	}
	t.made, err = look(ctx, conn)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return t, err
	}
	// A template with a connection, even a kept one, cannot be copied. Closing a
	// connection takes a moment.
	here := " FROM pg_stat_activity WHERE datname = '" + t.name + "'"
	if err := execute(admin, "SELECT pg_terminate_backend(pid)"+here); err != nil {
		return t, err
	}
	return t, await(admin, "SELECT count(*) = 0"+here)
})

// claim takes a lock until the end of this process.
func claim(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	templateOwner.Lock()
	defer templateOwner.Unlock()
	_, err := templateOwner.conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", name)
	return err
}

// dropAbandoned drops the databases of processes that have ended, because nothing runs
// at the end of a process.
func dropAbandoned(admin string) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	conn, err := Connect(ctx, admin)
	if err != nil {
		return err
	}
	templateOwner.conn = conn
	rows, err := conn.Query(ctx, "SELECT datname FROM pg_database WHERE starts_with(datname::text, $1)", templatePrefix)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, other := range names {
		if err := dropIfAbandoned(ctx, conn, other); err != nil {
			return fmt.Errorf("drop a database of a process that has ended: %w", err)
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
