package models

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"
)

// Engine describes the database server.
type Engine struct {
	Name string // with its version, such as PostgreSQL 17.6

	// Of PostgreSQL; 0 if unknown.
	MaxConnections int // that the server allows in total
	Connections    int // that are open, including those of this node
	NodeMaximum    int // the most that one node opens
}

// Engine returns the name, the version and the connection limits of the
// database server.
func (s *Store) Engine(ctx context.Context) (e Engine, err error) {
	if s.dialect.name == sqliteDialect.name {
		err = s.queryWithoutSchema(ctx, func(db *gorm.DB) error { return db.Raw("SELECT sqlite_version()").Row().Scan(&e.Name) })
		e.Name = "SQLite " + e.Name
		return e, err
	}
	pool, err := s.write.DB()
	if err != nil {
		return e, err
	}
	e.NodeMaximum = pool.Stats().MaxOpenConnections + 1 // and one for the probe
	err = s.queryWithoutSchema(ctx, func(db *gorm.DB) error { return db.Raw("SELECT version()").Row().Scan(&e.Name) })
	if err != nil {
		return e, err
	}
	e.Name, _, _ = strings.Cut(e.Name, " (")
	e.Name, _, _ = strings.Cut(e.Name, " on ")
	numbers := `SELECT current_setting('max_connections')::int, (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')`
	if s.queryWithoutSchema(ctx, func(db *gorm.DB) error { return db.Raw(numbers).Row().Scan(&e.MaxConnections, &e.Connections) }) != nil {
		e.MaxConnections, e.Connections = 0, 0 // other engines with PostgreSQL's protocol may not support this
	}
	return e, nil
}

// PreparesStatements reports whether prepared statements are in use. They are
// not if the options disable them or if a pooler that loses them was detected.
func (s *Store) PreparesStatements() bool { return !s.primary.unprepared.Load() }

// Addresses counts the client addresses of at most 1,000 sessions.
func (s *Store) Addresses(ctx context.Context) (map[string]int, error) {
	var rows []struct {
		IP string
		N  int
	}
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT ip, count(*) AS n FROM (SELECT ip FROM sessions WHERE ip <> '' LIMIT 1000) some GROUP BY ip").Scan(&rows).Error
	})
	found := map[string]int{}
	for _, r := range rows {
		found[r.IP] = r.N
	}
	return found, err
}

// InsecureHosts lists the hosts of a PostgreSQL URL that may be reached over a
// network without TLS, or with TLS that does not verify the server, and which
// of the two applies. Loopback addresses and sockets are not on a network.
func InsecureHosts(url string) (hosts []string, err error) {
	d, err := dialectFor(url)
	if err != nil || d.name == sqliteDialect.name {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed") // its text may hold a password
	}
	reached := append([]*pgconn.FallbackConfig{{Host: cfg.Host, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...)
	plain := map[string]bool{}
	for _, r := range reached {
		plain[r.Host] = plain[r.Host] || r.TLSConfig == nil
	}
	for _, r := range reached {
		address, err := netip.ParseAddr(r.Host)
		name := r.Host + ": without TLS"
		switch {
		case strings.HasPrefix(r.Host, "/") || r.Host == "localhost" || err == nil && address.IsLoopback():
			continue
		case plain[r.Host]:
		case r.TLSConfig.InsecureSkipVerify && r.TLSConfig.VerifyPeerCertificate == nil:
			name = r.Host + ": with TLS that does not verify the server's certificate"
		default:
			continue
		}
		if !slices.Contains(hosts, name) {
			hosts = append(hosts, name)
		}
	}
	return hosts, nil
}
