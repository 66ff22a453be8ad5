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

// Reasons why a database that responds is nevertheless unavailable.
var (
	// ErrReadOnly is returned for a database that does not accept writes: a
	// standby or a former primary. Its data may be out of date, so reads fail
	// as well.
	ErrReadOnly error = unavailable("the database is read-only")
	// ErrStarting is returned until the node has read the event log.
	ErrStarting error = unavailable("the event log has not been read yet")
	// ErrFormerPrimary is returned for a server that was replaced by a promoted
	// one.
	ErrFormerPrimary error = unavailable("the database is a former primary")
)

// unavailable is a kind of ErrUnavailable.
type unavailable string

func (u unavailable) Error() string        { return string(u) }
func (u unavailable) Is(target error) bool { return target == ErrUnavailable }

// server identifies one history of a PostgreSQL database. A promotion begins a
// new timeline. The zero value is a server that does not identify itself.
type server struct {
	system   string // identifier of the cluster, equal on its standbys
	timeline int64
}

func (s server) String() string {
	return fmt.Sprintf("system %s, timeline %d", s.system, s.timeline)
}

// primary is what a node knows about the server that it should write to.
type primary struct {
	log        *slog.Logger
	mu         sync.RWMutex
	server     server
	rechecks   atomic.Uint64 // increases when pooled connections must be checked again
	unprepared atomic.Bool   // prepared statements are off
}

// requireRecheck causes every pooled connection to be checked before it is used
// again.
func (p *primary) requireRecheck() { p.rechecks.Add(1) }

// accept decides whether a new connection to the server may be used, and
// remembers the server if it may. The newest timeline wins. Of two clusters,
// the latest one wins: the URL now leads there.
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
		p.log.Warn("the database URL leads to another primary: closing the connections to the previous one", "before", known.String(), "now", met.String())
	}
	p.server = met
	return nil
}

// superseded reports whether the node has connected to another primary since.
func (p *primary) superseded(met server) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return met != server{} && met != p.server
}

// checkWritable returns ErrReadOnly unless the server accepts writes. It sends
// nothing that a pooler would have to remember.
func checkWritable(ctx context.Context, conn *pgconn.PgConn) error {
	value, err := queryRow(ctx, conn, "SHOW transaction_read_only")
	if err == nil && value[0] != "off" {
		err = ErrReadOnly
	}
	return err
}

// serverOf identifies the server. It returns the zero value for an engine that
// speaks PostgreSQL's protocol but does not support this, and for a role that
// may not read it.
func serverOf(ctx context.Context, conn *pgconn.PgConn) (server, error) {
	row, err := queryRow(ctx, conn, "SELECT system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM pg_control_system()")
	if refused := new(pgconn.PgError); errors.As(err, &refused) && !conn.IsClosed() {
		return server{}, nil
	}
	if err != nil {
		return server{}, err
	}
	timeline, err := strconv.ParseInt(row[1], 16, 64)
	return server{row[0], timeline}, err
}

// queryRow returns the only row of a statement.
func queryRow(ctx context.Context, conn *pgconn.PgConn, statement string) ([]string, error) {
	results, err := conn.Exec(ctx, statement).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("%q did not return exactly one row", statement)
	}
	var row []string
	for _, column := range results[0].Rows[0] {
		row = append(row, string(column))
	}
	return row, nil
}
