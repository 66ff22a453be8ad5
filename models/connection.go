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
	// connectionLife limits how long a connection is used, so that a busy pool
	// follows the URL to another server. Up to a fifth is added at random, so
	// that connections are not all replaced at the same time.
	connectionLife = 5 * time.Minute
	// checkEvery is how long a connection is assumed to lead to the primary
	// before it is checked again.
	checkEvery = time.Second
	// checkTimeout limits that check. A connection that does not respond in
	// time is closed and replaced.
	checkTimeout = 2 * time.Second
)

// writable, placed before a statement, makes PostgreSQL reject the statement
// (25006) unless the server accepts writes: a standby or a former primary would
// return outdated data. It changes nothing and costs no round trip.
const writable = "WITH writable AS (UPDATE settings SET value = value WHERE false) "

type onPrimary struct{}

// readingFromPrimary returns a context whose queries only a server that accepts
// writes may answer.
func readingFromPrimary(ctx context.Context) context.Context {
	return context.WithValue(ctx, onPrimary{}, true)
}

// connector opens the connections of a pool.
type connector struct {
	driver.Connector
	primary *primary
	now     func() time.Time
	life    time.Duration // of a connection, plus up to a fifth
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	unnamed, doubts := c.primary.unprepared.Load(), c.primary.rechecks.Load() // read first, so that a change during Connect is noticed
	made, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := &connection{Conn: made.(*stdlib.Conn), primary: c.primary, now: c.now, unprepared: unnamed, rechecks: doubts, checked: c.now()}
	conn.server, _ = conn.pg().CustomData()[serverKey].(server)
	conn.retire = conn.checked.Add(c.life + rand.N(c.life/5))
	return conn, nil
}

const serverKey = "latchkey server"

// connection is a pooled connection. It is closed, and never used again, once
// it may lead elsewhere than to the primary.
type connection struct {
	*stdlib.Conn
	primary    *primary
	now        func() time.Time
	server     server
	unprepared bool      // opened without prepared statements
	retire     time.Time // not used from then on
	checked    time.Time // when the server last confirmed that it accepts writes
	rechecks   uint64    // primary.rechecks at that check
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
// connection may be used again. Most of the time this takes no round trip.
func (c *connection) ResetSession(ctx context.Context) error {
	if err := c.Conn.ResetSession(ctx); err != nil {
		return err
	}
	now, doubts := c.now(), c.primary.rechecks.Load()
	if !now.Before(c.retire) || c.unprepared != c.primary.unprepared.Load() || c.primary.superseded(c.server) {
		return driver.ErrBadConn
	}
	state := peek(c.pg().Conn())
	if state == peekClosed {
		c.primary.requireRecheck() // the server may have closed other connections too
		return driver.ErrBadConn
	}
	if age := now.Sub(c.checked); state == peekNothing && age >= 0 && age < checkEvery && doubts == c.rechecks {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := checkWritable(asking, c.pg()); err != nil {
		if errors.Is(err, ErrReadOnly) {
			c.primary.requireRecheck()
		}
		return driver.ErrBadConn
	}
	c.checked, c.rechecks = now, doubts
	return nil
}
