package models

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// probeEvery is the interval of the node's own probes of the database.
	probeEvery = time.Second
	// probeTimeout limits one probe.
	probeTimeout = 2 * time.Second
	// probeLife limits how long one connection is used for probes. A new one
	// leads to wherever the URL leads by then, and so finds a promoted primary
	// even while the previous one still accepts writes.
	probeLife = 5 * time.Second
)

// probe checks the database on a connection of its own, so that requests cannot
// delay it.
type probe struct {
	mu    sync.Mutex
	pool  *sql.DB
	check func(ctx context.Context, pool *sql.DB) error
}

func newProbe(pool *sql.DB, check func(context.Context, *sql.DB) error) *probe {
	pool.SetMaxOpenConns(1)
	return &probe{pool: pool, check: check}
}

// probePostgres does not prepare its statement, because a pooler might lose it.
func probePostgres(ctx context.Context, pool *sql.DB) error {
	var readOnly string
	err := pool.QueryRowContext(ctx, "SHOW transaction_read_only", pgx.QueryExecModeSimpleProtocol).Scan(&readOnly)
	if err == nil && readOnly != "off" {
		err = ErrReadOnly
	}
	return err
}

func probeSQLite(ctx context.Context, pool *sql.DB) error {
	var version int
	return pool.QueryRowContext(ctx, "PRAGMA schema_version").Scan(&version) // reads the file
}

// Watch probes the database every second until ctx ends. It notices an outage,
// the end of one, and a promotion even when there are no requests.
func (s *Store) Watch(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s.Probe(ctx)
	}
}

// Probe probes the database once, as Watch does every second. The result shows
// in ContactSince, and in which connections are used.
func (s *Store) Probe(ctx context.Context) {
	s.probe.mu.Lock()
	defer s.probe.mu.Unlock()
	s.probe.once(ctx, s)
}

// afterFailure checks whether an operation failed because of the database. Of
// many concurrent failures one probes; if that succeeds, the others need no
// probe.
func (p *probe) afterFailure(ctx context.Context, s *Store) {
	if p == nil { // the store is not open yet
		return
	}
	failed := s.clock.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s.contact.mu.Lock()
	known := s.contact.lost || s.contact.answered[reading].After(failed)
	s.contact.mu.Unlock()
	if !known {
		p.once(ctx, s)
	}
}

func (p *probe) once(ctx context.Context, s *Store) {
	asking, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := p.check(asking, p.pool)
	switch {
	case ctx.Err() != nil, isConnectionLimit(err):
	case err != nil:
		s.contact.recordFailedProbe(s.log, s.translate(err))
	default:
		s.contact.recordSuccess(s.log, reading, s.clock.now(), s.Now())
	}
}

// isConnectionLimit reports whether an error is due to too many connections,
// which requests can cause while the database is healthy.
func isConnectionLimit(err error) bool {
	pg := new(pgconn.PgError)
	return errors.As(err, &pg) && pg.Code == "53300" || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}
