// Package models holds the rows, their queries and transactions, and the
// migrations. It is the only room that knows GORM. It stores secrets and
// digests as opaque bytes: what they mean is oauth's business.
package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// Options say how a Store reaches its database.
type Options struct {
	// Clock is the node's clock; nil means time.Now.
	Clock func() time.Time
	// TrustClock takes the node's clock for the database's as well, without
	// measuring: tests set it, together with a clock of their own.
	TrustClock bool
	// NoPreparedStatements is for connection poolers that cannot keep them.
	NoPreparedStatements bool
	// MaxConnections bounds the pool of a PostgreSQL database; 0 means 16.
	MaxConnections int
	// StatusListSize is how many entries a new status list has, a multiple of 8;
	// 0 means 1,048,576. Tests set it.
	StatusListSize int
	// Tracer, if set, sees every statement sent to PostgreSQL (pgx.QueryTracer).
	Tracer Tracer
	// Dial, if set, reaches PostgreSQL in the place of a net.Dialer. Tests set it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log receives what no caller can be told; nil means slog.Default.
	Log *slog.Logger
}

// Store is the database of a deployment. It is safe for concurrent use.
type Store struct {
	write, read *gorm.DB // one and the same on PostgreSQL; SQLite has a single writer
	dialect     dialect
	log         *slog.Logger
	statusSize  int
	clock       storeClock
	contact     contact
	probe       *probe
	primary     primary   // of PostgreSQL
	parts       *urlParts // of its URL; nil: on SQLite
	recent      recentRevocations
	suspensions atomic.Pointer[SuspensionKey] // nil: not read yet, or there is none
	tally       tally
	sessions    sessionTally
	stats       statTally
}

// Open connects to the database at url ("sqlite:path" or "postgres://…"). It
// does not migrate. The Store must be closed.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.StatusListSize == 0 {
		opts.StatusListSize = statusStride
	}
	s := &Store{log: opts.Log, statusSize: opts.StatusListSize}
	s.clock.now, s.primary.log = opts.Clock, opts.Log
	s.sessions.begun = opts.Clock()
	d, err := dialectFor(url)
	if err != nil {
		return nil, err
	}
	s.dialect = d
	if err := d.open(ctx, s, url, opts); err != nil {
		s.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	return s, nil
}

// Close closes the connections.
func (s *Store) Close() error {
	var errs []error
	if s.probe != nil {
		errs = append(errs, s.probe.pool.Close())
	}
	for _, db := range []*gorm.DB{s.write, s.read} {
		if db == nil {
			continue
		}
		pool, err := db.DB()
		if err == nil {
			err = pool.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Pool reports on the connections that requests use. On SQLite they are those that
// read.
func (s *Store) Pool() sql.DBStats {
	pool, err := s.read.DB()
	if err != nil {
		return sql.DBStats{}
	}
	return pool.Stats()
}

// Ping asks the database whether it answers and, on PostgreSQL, takes writes.
func (s *Store) Ping(ctx context.Context) error {
	return s.ask(ctx, func(db *gorm.DB) error {
		var answer string
		err := db.Raw(s.dialect.ping).Row().Scan(&answer)
		if err == nil && answer == "on" { // transaction_read_only
			err = ErrReadOnly
		}
		return err
	})
}

// Dialect is "postgres" or "sqlite".
func (s *Store) Dialect() string { return s.dialect.name }

// operationTimeout is how long one operation may take: a database that hangs is one
// that is away.
const operationTimeout = 5 * time.Second

// query runs reads outside a transaction. They are answered by a server that
// takes writes, or fail: what a standby or a former primary says may be over.
// fn must bear repetition.
func (s *Store) query(ctx context.Context, fn func(db *gorm.DB) error) error {
	return s.ask(readingFromPrimary(ctx), fn)
}

// ask is query for what needs no schema.
func (s *Store) ask(ctx context.Context, fn func(db *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return s.readAgain(ctx, fn)
}

// longQuery is query for what may take its time: no request waits for it.
func (s *Store) longQuery(ctx context.Context, fn func(db *gorm.DB) error) error {
	return s.readAgain(readingFromPrimary(ctx), fn)
}

func (s *Store) readAgain(ctx context.Context, fn func(db *gorm.DB) error) error {
	return s.retry(ctx, reading, isLost, func() error { return fn(s.read.WithContext(ctx)) })
}

// exec runs one writing statement, a transaction of its own.
func (s *Store) exec(ctx context.Context, fn func(db *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	var events *written
	err := s.retry(ctx, writing, isUnsent, func() error {
		ctx, events = withWritten(ctx)
		return fn(s.write.WithContext(ctx))
	})
	return s.report(events, err)
}

// transaction runs fn in a transaction, and again when it lost to another one
// or its connection broke before the commit. Everything that fn does outside
// the database must bear repetition.
func (s *Store) transaction(ctx context.Context, fn func(tx *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return s.longTransaction(ctx, fn)
}

// recorded is record as a transaction of its own.
func (s *Store) recorded(ctx context.Context, e Event, change string, args ...any) error {
	run := s.transaction
	if s.dialect.nested { // one statement needs no more
		run = s.exec
	}
	return run(ctx, func(db *gorm.DB) error { return s.record(db, e, change, args...) })
}

// longTransaction is one that may take its time: no request waits for it.
func (s *Store) longTransaction(ctx context.Context, fn func(tx *gorm.DB) error) error {
	var committing bool
	uncommitted := func(err error) bool { return isUnsent(err) || !committing && isLost(err) }
	var events *written
	err := s.retry(ctx, writing, uncommitted, func() error {
		committing = false
		ctx, events = withWritten(ctx)
		return s.write.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			err := fn(tx)
			committing = err == nil
			return err
		})
	})
	return s.report(events, err)
}

// retry repeats what failed for no reason but bad timing, and once, on another
// connection, what failed with the connection and has provably changed nothing.
// Any other lost connection is not retried here: whether its commit took place
// is unknown.
func (s *Store) retry(ctx context.Context, kind access, harmless func(error) bool, fn func() error) error {
	const attempts = 6
	again := harmless
	for attempt := 1; ; attempt++ {
		begun := s.clock.now()
		failed := fn()
		err := s.translate(failed)
		if !errors.Is(err, errSerialization) {
			if err != nil && again != nil && ctx.Err() == nil && again(failed) {
				s.primary.doubt() // its neighbours may be broken too
				again = nil
				continue
			}
			return s.observe(ctx, kind, begun, err)
		}
		if attempt == attempts {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		select {
		case <-time.After(time.Duration(attempt) * time.Duration(rand.IntN(int(4*time.Millisecond)))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
