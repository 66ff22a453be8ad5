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
	// probeEvery is how often a node asks the database of its own accord.
	probeEvery = time.Second
	// probePatience is how long it waits for the answer.
	probePatience = 2 * time.Second
	// probeLife bounds how long one connection serves for that. A new one leads to
	// wherever the URL leads by then, and so finds a promoted primary even while
	// the one before still takes writes.
	probeLife = 5 * time.Second
)

// probe is the node's own question to the database. It has a connection to
// itself, so that nothing that requests do can keep it waiting.
type probe struct {
	mu   sync.Mutex
	pool *sql.DB
	ask  func(ctx context.Context, pool *sql.DB) error
}

func newProbe(pool *sql.DB, ask func(context.Context, *sql.DB) error) *probe {
	pool.SetMaxOpenConns(1)
	return &probe{pool: pool, ask: ask}
}

// askPostgres does not prepare its statement, which a pooler might lose.
func askPostgres(ctx context.Context, pool *sql.DB) error {
	var readOnly string
	err := pool.QueryRowContext(ctx, "SHOW transaction_read_only", pgx.QueryExecModeSimpleProtocol).Scan(&readOnly)
	if err == nil && readOnly != "off" {
		err = ErrReadOnly
	}
	return err
}

func askSQLite(ctx context.Context, pool *sql.DB) error {
	var version int
	return pool.QueryRowContext(ctx, "PRAGMA schema_version").Scan(&version) // reads the file
}

// Watch has the node ask the database every second until ctx ends. It notices
// an outage, and the end of one, when no request comes; and a promotion.
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

// Probe asks once, as Watch does every second. What it learns shows in
// ContactSince, and in which connections are used.
func (s *Store) Probe(ctx context.Context) {
	s.probe.mu.Lock()
	defer s.probe.mu.Unlock()
	s.probe.once(ctx, s)
}

// afterFailure asks whether a failure of an operation was one of the database.
// Of many at once one asks, and if it is answered, so are the others.
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
	asking, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	err := p.ask(asking, p.pool)
	switch {
	case ctx.Err() != nil, isCrowded(err):
	case err != nil:
		s.contact.unanswered(s.log, s.translate(err))
	default:
		s.contact.answer(s.log, reading, s.clock.now(), s.Now())
	}
}

// isCrowded reports whether an error comes of too many connections, which
// requests can bring about while the database is well.
func isCrowded(err error) bool {
	pg := new(pgconn.PgError)
	return errors.As(err, &pg) && pg.Code == "53300" || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}
