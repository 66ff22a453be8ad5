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

// Options configure how a Store connects to its database.
type Options struct {
	// Clock is the node's clock; the default is time.Now.
	Clock func() time.Time
	// TrustClock uses the node's clock as the database's too, without
	// measuring. Tests set it, together with their own clock.
	TrustClock bool
	// NoPreparedStatements is for connection poolers that cannot keep them.
	NoPreparedStatements bool
	// MaxConnections limits the pool of a PostgreSQL database; 0 means 16.
	MaxConnections int
	// StatusListSize is the number of entries of a new status list, a multiple
	// of 8; 0 means 1,048,576. Tests set it.
	StatusListSize int
	// Tracer, if set, sees every statement sent to PostgreSQL (pgx.QueryTracer).
	Tracer Tracer
	// Dial, if set, connects to PostgreSQL instead of a net.Dialer. Tests set
	// it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log receives what is not returned to a caller; the default is
	// slog.Default.
	Log *slog.Logger
}

// Store is the database of a deployment. It is safe for concurrent use.
type Store struct {
	write, read *gorm.DB // the same on PostgreSQL; SQLite has a single writer
	dialect     dialect
	log         *slog.Logger
	statusSize  int
	clock       storeClock
	contact     contact
	probe       *probe
	primary     primary   // of PostgreSQL
	parts       *urlParts // of its URL; nil on SQLite
	recent      recentRevocations
	suspensions atomic.Pointer[SuspensionKey] // nil: not read yet, or none
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

// Pool returns statistics of the connections that requests use. On SQLite those
// are the connections that read.
func (s *Store) Pool() sql.DBStats {
	pool, err := s.read.DB()
	if err != nil {
		return sql.DBStats{}
	}
	return pool.Stats()
}

// Ping checks that the database responds and, on PostgreSQL, accepts writes.
func (s *Store) Ping(ctx context.Context) error {
	return s.queryWithoutSchema(ctx, func(db *gorm.DB) error {
		var answer string
		err := db.Raw(s.dialect.ping).Row().Scan(&answer)
		if err == nil && answer == "on" { // transaction_read_only
			err = ErrReadOnly
		}
		return err
	})
}

// Dialect returns "postgres" or "sqlite".
func (s *Store) Dialect() string { return s.dialect.name }

// operationTimeout limits one operation: a database that does not respond in
// time is unavailable.
const operationTimeout = 5 * time.Second

// query runs reads outside a transaction. Only a server that accepts writes
// answers them, because a standby or a former primary may return outdated data.
// fn must be repeatable.
func (s *Store) query(ctx context.Context, fn func(db *gorm.DB) error) error {
	return s.queryWithoutSchema(readingFromPrimary(ctx), fn)
}

// queryWithoutSchema is query without the check for the primary, which needs a
// table of the schema.
func (s *Store) queryWithoutSchema(ctx context.Context, fn func(db *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	return s.retryRead(ctx, fn)
}

// longQuery is query without a timeout, for reads that no request waits for.
func (s *Store) longQuery(ctx context.Context, fn func(db *gorm.DB) error) error {
	return s.retryRead(readingFromPrimary(ctx), fn)
}

func (s *Store) retryRead(ctx context.Context, fn func(db *gorm.DB) error) error {
	return s.retry(ctx, reading, isLost, func() error { return fn(s.read.WithContext(ctx)) })
}

// exec runs one writing statement as a transaction of its own.
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

// transaction runs fn in a transaction, and again if it lost a conflict or its
// connection broke before the commit. Everything that fn does outside the
// database must be repeatable.
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

// longTransaction is transaction without a timeout, for work that no request
// waits for.
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

// retry repeats an operation that failed only because of bad timing. It also
// repeats, once and on another connection, an operation whose connection failed
// and that provably changed nothing. No other lost connection is retried here:
// whether the commit took place is unknown.
func (s *Store) retry(ctx context.Context, kind accessKind, harmless func(error) bool, fn func() error) error {
	const attempts = 6
	again := harmless
	for attempt := 1; ; attempt++ {
		begun := s.clock.now()
		failed := fn()
		err := s.translate(failed)
		if !errors.Is(err, errSerialization) {
			if err != nil && again != nil && ctx.Err() == nil && again(failed) {
				s.primary.requireRecheck() // other pooled connections may be broken too
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
