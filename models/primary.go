package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// The reasons why a database that answers is unavailable all the same.
var (
	// ErrReadOnly is a database that takes no writes: a standby, or a former
	// primary. What it answers may be out of date, so reads fail as well.
	ErrReadOnly error = unavailable("the database is read-only")
	// ErrStarting is the state of a node that has not yet read the event log.
	ErrStarting error = unavailable("the event log has not been read yet")
	// ErrFormerPrimary is a server in whose place another one was promoted.
	ErrFormerPrimary error = unavailable("the database is a former primary")
)

// unavailable is a kind of ErrUnavailable.
type unavailable string

func (u unavailable) Error() string        { return string(u) }
func (u unavailable) Is(target error) bool { return target == ErrUnavailable }

// server tells one history of a PostgreSQL database from another. A promotion
// begins a new timeline. The zero value is a server that does not say.
type server struct {
	system   string // identifier of the cluster, equal on its standbys
	timeline int64
}

func (s server) String() string {
	return fmt.Sprintf("system %s, timeline %d", s.system, s.timeline)
}

// primary is what a node knows of the server that it should write to.
type primary struct {
	log     *slog.Logger
	mu      sync.RWMutex
	server  server
	doubts  atomic.Uint64 // rises with everything that calls pooled connections into question
	unnamed atomic.Bool   // statements have no names: a pooler loses them
}

// doubt has every pooled connection checked before it is used again.
func (p *primary) doubt() { p.doubts.Add(1) }

// accept decides whether a new connection to the server may be used, and
// remembers the server if it may. The newest timeline wins. Of two clusters the
// one that was met last does: the URL was led to another one.
func (p *primary) accept(met server) error {
	if met == (server{}) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.server
	switch {
	case met == known:
		return nil
	case met.system == known.system && met.timeline < known.timeline:
		return fmt.Errorf("%w: it is at timeline %d, and this node has used timeline %d (after a restore to an earlier timeline, restart the node)",
			ErrFormerPrimary, met.timeline, known.timeline)
	case known == (server{}):
	default:
		p.log.Warn("the database URL leads to another primary: connections to the one before are closed", "before", known.String(), "now", met.String())
	}
	p.server = met
	return nil
}

// superseded reports whether the node has since met another primary.
func (p *primary) superseded(met server) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return met != server{} && met != p.server
}

// checkWritable asks the server whether it takes writes. It sends nothing that
// a pooler would have to remember.
func checkWritable(ctx context.Context, conn *pgconn.PgConn) error {
	value, err := ask(ctx, conn, "SHOW transaction_read_only")
	if err == nil && value[0] != "off" {
		err = ErrReadOnly
	}
	return err
}

// serverOf asks the server who it is. PostgreSQL says so; engines that speak its
// protocol need not, and a role may not be allowed to ask.
func serverOf(ctx context.Context, conn *pgconn.PgConn) (server, error) {
	row, err := ask(ctx, conn, "SELECT system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM pg_control_system()")
	if refused := new(pgconn.PgError); errors.As(err, &refused) && !conn.IsClosed() {
		return server{}, nil
	}
	if err != nil {
		return server{}, err
	}
	timeline, err := strconv.ParseInt(row[1], 16, 64)
	return server{row[0], timeline}, err
}

// ask returns the only row of a statement.
func ask(ctx context.Context, conn *pgconn.PgConn, statement string) ([]string, error) {
	results, err := conn.Exec(ctx, statement).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("%q has another number of rows than one", statement)
	}
	var row []string
	for _, column := range results[0].Rows[0] {
		row = append(row, string(column))
	}
	return row, nil
}
