package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

func openPostgres(ctx context.Context, s *Store, url string, opts Options) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("the database URL cannot be parsed") // its text may hold a password
	}
	s.parts = partsOf(url, cfg)
	cfg.Tracer = opts.Tracer
	if opts.Dial != nil {
		cfg.DialFunc = opts.Dial
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	s.primary.unprepared.Store(opts.NoPreparedStatements)
	cfg.ValidateConnect = s.primary.validate(cfg.ValidateConnect)
	cfg.OnPgError = s.primary.onError(cfg.OnPgError)
	pool := s.connections(*cfg, connectionLife, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		if opts.TrustClock {
			return nil
		}
		err := s.measureClockOf(ctx, c)
		if err != nil {
			_ = c.Close(ctx) // the pool does not
		}
		return err
	}))
	cfg.Tracer = nil
	s.probe = newProbe(s.connections(*cfg, probeLife), probePostgres)
	if opts.MaxConnections == 0 {
		opts.MaxConnections = 16
	}
	pool.SetMaxOpenConns(opts.MaxConnections)
	pool.SetMaxIdleConns(opts.MaxConnections)
	pool.SetConnMaxIdleTime(connectionLife)
	s.write, err = gorm.Open(postgres.New(postgres.Config{Conn: pool}), gormConfig())
	s.read = s.write
	if err != nil {
		return err
	}
	if err := s.Ping(ctx); err != nil {
		return explainPooler(err)
	}
	if opts.NoPreparedStatements {
		return nil
	}
	return s.detectPooler(ctx, pool)
}

// explainPooler adds what to do about a pooler that rejects a parameter of the
// URL.
func explainPooler(err error) error {
	if strings.Contains(err.Error(), "unsupported startup parameter") {
		return fmt.Errorf("%w: a connection pooler does not pass on this parameter of database.url. "+
			"Take it out of the URL and set it for the role: ALTER ROLE the_role SET search_path = latchkey", err)
	}
	return err
}

// detectPooler finds a pooler that cannot keep prepared statements before a
// request does. It prepares the same statement on two connections: such a
// pooler leads both to the same server connection, where the name is taken.
// onError handles that error.
func (s *Store) detectPooler(ctx context.Context, pool *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	for range 2 {
		conn, err := pool.Conn(ctx)
		if err != nil {
			return s.translate(err)
		}
		defer conn.Close()
		var backend, own uint32
		_ = conn.Raw(func(c any) error { own = c.(*connection).pg().PID(); return nil }) // fails only if the function does
		if err := conn.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil || backend == own {
			return nil // there is no pooler, or onError has noticed it
		}
	}
	return nil
}

// connections returns a pool whose connections lead to the primary.
func (s *Store) connections(cfg pgx.ConnConfig, life time.Duration, opts ...stdlib.OptionOpenDB) *sql.DB {
	opts = append(opts,
		stdlib.OptionBeforeConnect(func(_ context.Context, cfg *pgx.ConnConfig) error {
			if s.primary.unprepared.Load() {
				cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
			}
			return nil
		}),
		stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false })) // connection.ResetSession checks more
	return sql.OpenDB(connector{Connector: stdlib.GetConnector(cfg, opts...), primary: &s.primary, now: s.clock.now, life: life})
}

// measureClockOf uses an unnamed statement, because a pooler may lose named
// ones.
func (s *Store) measureClockOf(ctx context.Context, c *pgx.Conn) error {
	return s.clock.measure(func() (at int64, err error) {
		err = c.QueryRow(ctx, clockQuery, pgx.QueryExecModeExec).Scan(&at)
		return at, err
	})
}

// validate rejects a connection that does not lead to the primary. If the URL
// names several hosts, the next one is tried.
func (p *primary) validate(also pgconn.ValidateConnectFunc) pgconn.ValidateConnectFunc {
	return func(ctx context.Context, conn *pgconn.PgConn) error {
		if also != nil {
			if err := also(ctx, conn); err != nil {
				return err
			}
		}
		if err := checkWritable(ctx, conn); err != nil {
			return err
		}
		met, err := serverOf(ctx, conn)
		if err != nil {
			return err
		}
		conn.CustomData()[serverKey] = met
		return p.accept(met)
	}
}

// onError handles every error that a server reports, and returns whether the
// connection may be kept.
func (p *primary) onError(also pgconn.PgErrorHandler) pgconn.PgErrorHandler {
	return func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		switch {
		case err.Code == readOnlyTransaction:
			p.requireRecheck()
			return false
		case isLostStatement(err):
			if p.unprepared.CompareAndSwap(false, true) {
				p.log.Warn("a connection pooler between this node and PostgreSQL does not keep prepared statements: continuing without them. "+
					"Set database.prepared_statements: false", "error", err.Message)
			}
			return false
		}
		return also == nil || also(conn, err)
	}
}

// isLostStatement reports whether a prepared statement was missing where it had
// been prepared, or existed before: a pooler uses another server connection
// each time.
func isLostStatement(err *pgconn.PgError) bool {
	return err.Code == "26000" || err.Code == "42P05" || err.Code == "08P01" && strings.Contains(err.Message, "prepared statement")
}
