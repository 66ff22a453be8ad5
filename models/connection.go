package models

import (
	"context"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// connectionLife bounds how long a connection is used, so that a busy pool
	// follows the URL to another server. Up to a fifth is added by chance, so that
	// not all connections are made again at once.
	connectionLife = 5 * time.Minute
	// checkEvery is how long a connection is taken to lead to the primary before
	// it is asked again.
	checkEvery = time.Second
	// checkPatience bounds that question: a connection that does not answer it is
	// closed, and another one made.
	checkPatience = 2 * time.Second
)

// writable before a statement has PostgreSQL refuse it (25006) unless it takes
// writes: a standby or a former primary would answer it with what was true once.
// It changes nothing and costs no round trip.
const writable = "WITH writable AS (UPDATE settings SET value = value WHERE false) "

type onPrimary struct{}

// readingFromPrimary marks the queries of a context as ones that only a server
// that takes writes may answer.
func readingFromPrimary(ctx context.Context) context.Context {
	return context.WithValue(ctx, onPrimary{}, true)
}

// connector makes the connections of a pool.
type connector struct {
	driver.Connector
	primary *primary
	now     func() time.Time
	life    time.Duration // of a connection, and up to a fifth more
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	unnamed, doubts := c.primary.unnamed.Load(), c.primary.doubts.Load() // before: what changes meanwhile is in question
	made, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := &connection{Conn: made.(*stdlib.Conn), primary: c.primary, now: c.now, unnamed: unnamed, doubts: doubts, checked: c.now()}
	conn.server, _ = conn.pg().CustomData()[serverKey].(server)
	conn.retire = conn.checked.Add(c.life + rand.N(c.life/5))
	return conn, nil
}

const serverKey = "latchkey server"

// connection is one of a pool. It is closed, and never used again, once it may
// lead elsewhere than to the primary.
type connection struct {
	*stdlib.Conn
	primary *primary
	now     func() time.Time
	server  server
	unnamed bool      // was made for statements without names
	retire  time.Time // it is not used from then on
	checked time.Time // when the server last said that it takes writes
	doubts  uint64    // those that this check has settled
}

func (c *connection) pg() *pgconn.PgConn { return c.Conn.Conn().PgConn() }

// IsValid implements driver.Validator.
func (c *connection) IsValid() bool { return !c.pg().IsClosed() }

// QueryContext implements driver.QueryerContext.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if ctx.Value(onPrimary{}) != nil {
		if rest, with := strings.CutPrefix(query, "WITH "); with {
			query = strings.TrimSuffix(writable, " ") + ", " + rest
		} else {
			query = writable + query
		}
	}
	return c.Conn.QueryContext(ctx, query, args)
}

// ResetSession implements driver.SessionResetter: it decides whether the
// connection may be used again. Most of the time it asks nobody.
func (c *connection) ResetSession(ctx context.Context) error {
	if err := c.Conn.ResetSession(ctx); err != nil {
		return err
	}
	now, doubts := c.now(), c.primary.doubts.Load()
	if !now.Before(c.retire) || c.unnamed != c.primary.unnamed.Load() || c.primary.superseded(c.server) {
		return driver.ErrBadConn
	}
	state := peek(c.pg().Conn())
	if state == hungUp {
		c.primary.doubt() // where one was ended others may have been
		return driver.ErrBadConn
	}
	if age := now.Sub(c.checked); state == quiet && age >= 0 && age < checkEvery && doubts == c.doubts {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if err := checkWritable(asking, c.pg()); err != nil {
		if errors.Is(err, ErrReadOnly) {
			c.primary.doubt()
		}
		return driver.ErrBadConn
	}
	c.checked, c.doubts = now, doubts
	return nil
}
