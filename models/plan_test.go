package models_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

// sentStatements records the statements that are sent to PostgreSQL.
type sentStatements struct {
	mu   sync.Mutex
	list []pgx.TraceQueryStartData
}

func (s *sentStatements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, data)
	return ctx
}

func (*sentStatements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *sentStatements) take() []pgx.TraceQueryStartData {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	return list
}

// planNode is a node of a plan that EXPLAIN (ANALYZE, FORMAT JSON) prints.
type planNode struct {
	NodeType string     `json:"Node Type"`
	Table    string     `json:"Relation Name"`
	Index    string     `json:"Index Name"`
	Rows     float64    `json:"Actual Rows"`
	Removed  float64    `json:"Rows Removed by Filter"`
	Loops    float64    `json:"Actual Loops"`
	Plans    []planNode `json:"Plans"`
}

func (n planNode) walk(see func(planNode)) {
	see(n)
	for _, child := range n.Plans {
		child.walk(see)
	}
}

// Each list, search and count reads large tables by an index, and a limited number of
// rows of them, with the parameters that are worst for it.
func TestNoListScansALargeTable(t *testing.T) {
	t.Parallel()
	w := newFixture(t, testdb.Postgres(t))
	spec := tenant()
	spec.TrustedIssuers = append(spec.TrustedIssuers, entry("https://other.example.com", "other:"))
	w.apply(spec)
	w.exec(`UPDATE tenants SET searchable_attributes = '["email"]', searchable_ready = '["email"]'`)
	// heavy has 12,000 old sessions. The client shop has 150, and no session belongs to an
	// issuer that exists, so that none is live.
	for _, statement := range []string{
		`INSERT INTO users (tenant_id, sub, attributes, disabled, created_at, updated_at) SELECT 'default', 'user-' || i, '{}', false, 1, 1 FROM generate_series(1, 40000) i`,
		`INSERT INTO users (tenant_id, sub, attributes, disabled, created_at, updated_at) SELECT 'default', 'other:' || i, '{}', false, 1, 1 FROM generate_series(1, 40000) i`,
		`INSERT INTO event_deliveries (tenant_id, destination_id, event_id, type, attempts, dead_at, status, error, answer)
			SELECT 'default', CASE WHEN i % 2 = 0 THEN 'refusing' ELSE 'other' END, int8send(1772366400000000 + i) || int8send(i), 'session.created', 1, CASE WHEN i % 10000 > 1 THEN 1 END, 0, '', ''
			FROM generate_series(1, 60000) i`,
		`INSERT INTO user_attributes (tenant_id, sub, name, value_digest) SELECT 'default', 'user-' || i, 'email', sha256(i::text::bytea) FROM generate_series(1, 40000) i`,
		`INSERT INTO sessions (id, tenant_id, client_id, issuer_id, subject, created_at, auth_time, last_active_at, absolute_expires_at, generation, session_token_generation,
				factors, session_attributes, scope, audience, device_name, user_agent, ip, prune_at)
			SELECT decode(md5(i::text), 'hex'), 'default', CASE WHEN i % 400 = 0 THEN 'shop' ELSE 'web' END, 'gone',
				CASE WHEN i <= 30000 THEN 'heavy' ELSE 'user-' || i END, 1772366400000000 + i, 1, 1, 9000000000000000, 1, 0, '[]', '{}', '', '', '', '', '203.0.113.1', 9000000000000000
			FROM generate_series(1, 60000) i`,
		`INSERT INTO events (id, at, tenant_id, type, subject, details) SELECT int8send(1772366400000000 + i) || int8send(i), 1772366400000000 + i, 'default', 'session_created', 'user-' || i % 50, '{}'
			FROM generate_series(1, 40000) i`,
		`UPDATE users SET suspended_at = 1772366400000000 + substr(sub, 6)::bigint WHERE sub LIKE 'user-%'`,
	} {
		w.exec(statement)
	}
	sent := &sentStatements{}
	store := w.another(models.Options{Tracer: sent})
	conn, err := testdb.Connect(t.Context(), w.url)
	must(t, err)
	defer conn.Close(t.Context())
	key, err := store.SuspensionKey(t.Context(), secrets{})
	must(t, err)
	digests := make([][]byte, 40_000)
	for i := range digests {
		digests[i] = key.UserDigest(acme, fmt.Sprint("user-", i+1))
	}
	_, err = conn.Exec(t.Context(), `INSERT INTO suspensions (tenant_id, noun, id_digest, suspended_at, suspended_by, role, reason, name)
		SELECT 'default', 'user', digest, 1772366400000000 + i, '', 'owner', '', '' FROM unnest($1::bytea[]) WITH ORDINALITY u(digest, i)`, digests)
	must(t, err)
	w.exec("ANALYZE")

	sessions := func(f models.SessionFilter) func() error {
		return func() error {
			f.Tenant, f.Limit = acme, 500
			_, _, err := store.SearchSessions(t.Context(), f)
			return err
		}
	}
	users := func(f models.UserFilter) func() error {
		return func() error {
			f.Tenant, f.Limit = acme, 50
			_, _, err := store.ListUsers(t.Context(), f)
			return err
		}
	}
	events := func(f models.EventFilter) func() error {
		return func() error {
			f.Limit = 500
			_, _, err := store.ListEvents(t.Context(), f)
			return err
		}
	}
	refusing := models.DestinationKey{Tenant: acme, ID: "refusing"}
	deliveries := func(dead bool) func() error {
		return func() error {
			_, err := store.Deliveries(t.Context(), refusing, dead, models.EventID{}, 51)
			return err
		}
	}
	live := func(kind, id string) func() error {
		return func() error {
			_, _ = store.LiveSessions(t.Context(), models.Ref{Kind: kind, Tenant: acme, ID: id}) // it may give up
			return nil
		}
	}
	suspensions := func(f models.SuspensionFilter) func() error {
		return func() error {
			f.Limit = 500
			_, _, err := store.ListSuspensions(t.Context(), secrets{}, f)
			return err
		}
	}
	lastSuspensions := models.SuspensionCursor{At: models.At(time.UnixMicro(1772366400000000 + 39_000)), Digest: make([]byte, 32)}
	count := func(user, client string) func() error {
		return func() error {
			_, _ = store.CountLive(t.Context(), acme, user, client) // it may give up
			return nil
		}
	}
	ended, old := false, time.UnixMicro(1772366400000000+2000)
	for name, list := range map[string]func() error{
		"all sessions":                           sessions(models.SessionFilter{}),
		"sessions of nobody":                     sessions(models.SessionFilter{User: "nobody"}),
		"sessions of a user with many":           sessions(models.SessionFilter{User: "heavy"}),
		"old sessions of a user with many":       sessions(models.SessionFilter{User: "heavy", CreatedBefore: old}),
		"sessions of a user and a client":        sessions(models.SessionFilter{User: "heavy", Client: "shop"}),
		"sessions of a client":                   sessions(models.SessionFilter{Client: "shop", CreatedBefore: old}),
		"ended sessions":                         sessions(models.SessionFilter{Live: &ended}),
		"sessions at an address":                 sessions(models.SessionFilter{IP: "192.0.2.1"}),
		"sessions of an issuer":                  sessions(models.SessionFilter{Issuer: w.issuer}),
		"sessions from before all":               sessions(models.SessionFilter{CreatedBefore: start.Add(-time.Hour)}),
		"all users":                              users(models.UserFilter{}),
		"the last users":                         users(models.UserFilter{After: "user-9998"}),
		"users by prefix":                        users(models.UserFilter{Prefix: "user-39"}),
		"users of an issuer":                     users(models.UserFilter{Issuer: "https://other.example.com"}),
		"users of an issuer without a namespace": users(models.UserFilter{Issuer: "https://auth.example.com"}),
		"deliveries that wait":                   deliveries(false),
		"deliveries that were given up":          deliveries(true),
		"deliveries of a status":                 func() error { _, err := store.StatusDeliveries(t.Context(), refusing); return err },
		"how many deliveries there are":          func() error { _, _, err := store.CountDeliveries(t.Context(), refusing); return err },
		"users by an attribute":                  users(models.UserFilter{Attribute: &models.AttributeMatch{Name: "email", Value: "17"}}),
		"all events":                             events(models.EventFilter{Tenant: acme}),
		"events of a type that is rare":          events(models.EventFilter{Tenant: acme, Types: []string{"config.changed"}}),
		"events of a user":                       events(models.EventFilter{Tenant: acme, User: "user-7"}),
		"events of a session":                    events(models.EventFilter{Tenant: acme, Session: &models.SessionID{1}}),
		"events of no tenant":                    events(models.EventFilter{}),
		"events of a tenant that has none":       events(models.EventFilter{Tenant: "other", Types: []string{"x"}}),
		"the live sessions of a user":            live(models.KindUser, "heavy"),
		"the live sessions of a client":          live(models.KindClient, "shop"),
		"the sessions of a user that would end":  count("heavy", ""),
		"those of a user and a client":           count("heavy", "shop"),
		"those of a client":                      count("", "shop"),
		"what pruning reads":                     func() error { _, err := store.Prune(t.Context(), w.Now()); return err },
		"suspensions":                            suspensions(models.SuspensionFilter{}),
		"suspensions in a tenant":                suspensions(models.SuspensionFilter{Tenants: []string{acme}}),
		"the last suspensions":                   suspensions(models.SuspensionFilter{After: lastSuspensions}),
		"suspensions in a tenant that has none":  suspensions(models.SuspensionFilter{Tenants: []string{"other"}}),
	} {
		t.Run(name, func(t *testing.T) {
			sent.take()
			for range 2 {
				must(t, list())
			}
			for _, statement := range sent.take() {
				if strings.Contains(statement.SQL, "SELECT") && !strings.HasPrefix(statement.SQL, "SET") {
					noScan(t, conn, statement)
				}
			}
		})
	}
}

func TestCountingLiveSessionsGivesUpAmongManyStoredOnes(t *testing.T) {
	t.Parallel()
	w := newFixture(t, testdb.Postgres(t))
	fill := func(from, to int) {
		w.exec(fmt.Sprintf(`INSERT INTO sessions (id, tenant_id, client_id, issuer_id, subject, created_at, auth_time, last_active_at, absolute_expires_at, generation, session_token_generation,
				factors, session_attributes, scope, audience, device_name, user_agent, ip, prune_at)
			SELECT decode(md5(i::text), 'hex'), 'default', 'web', 'gone', 'user', i, 1, 1, 9000000000000000, 1, 0, '[]', '{}', '', '', '', '', '', 9000000000000000 FROM generate_series(%d, %d) i`, from, to))
	}
	for _, c := range []struct {
		from, to int
		counts   bool
	}{{1, 10_000, true}, {10_001, 10_001, false}} {
		fill(c.from, c.to)
		for kind, id := range map[string]string{models.KindTenant: acme, models.KindClient: "web", models.KindUser: "user", models.KindIssuer: "https://auth.example.com"} {
			n, err := w.LiveSessions(t.Context(), models.Ref{Kind: kind, Tenant: acme, ID: id})
			if n != 0 || (err == nil) != c.counts || err != nil && !errors.Is(err, models.ErrTooManyStored) {
				t.Errorf("%d stored: the live sessions of %s %s: %d, %v", c.to, kind, id, n, err)
			}
		}
	}
}

// What the server knows anyway answers where counting would take too long.
func TestMoreSessionsThanAreCountedAreKnownFromTheirTally(t *testing.T) {
	t.Parallel()
	w := newFixture(t, testdb.Postgres(t))
	w.exec(`INSERT INTO sessions (id, tenant_id, client_id, issuer_id, subject, created_at, auth_time, last_active_at, absolute_expires_at, generation, session_token_generation,
			factors, session_attributes, scope, audience, device_name, user_agent, ip, prune_at, ended_at)
		SELECT decode(md5(i::text), 'hex'), 'default', 'web', ?, 'user', 9000000000000000 + i, 1, 1, 9000000000000000, 1, 0, '[]', '{}', '', '', '', '', '', 9000000000000000, CASE WHEN i % 2 = 0 THEN 1 END
		FROM generate_series(1, 30000) i`, w.issuer)
	for kind, id := range map[string]string{models.KindTenant: acme, models.KindClient: "web"} {
		if _, err := w.LiveSessions(t.Context(), models.Ref{Kind: kind, Tenant: acme, ID: id}); !errors.Is(err, models.ErrTooManyStored) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	w.exec("INSERT INTO session_counts (tenant_id, node, hour, n) VALUES ('default', 'node', 1, 15000) ON CONFLICT DO NOTHING")
	w.exec("INSERT INTO client_session_counts (tenant_id, client_id, node, hour, n) VALUES ('default', 'web', 'node', 1, 15000) ON CONFLICT DO NOTHING")
	must(t, w.SyncSessionCounts(t.Context(), "other"))
	for kind, id := range map[string]string{models.KindTenant: acme, models.KindClient: "web"} {
		if n, err := w.LiveSessions(t.Context(), models.Ref{Kind: kind, Tenant: acme, ID: id}); n != models.ManySessions+1 || err != nil {
			t.Errorf("%s: %d, %v", kind, n, err)
		}
	}
	if n, err := w.CountLive(t.Context(), acme, "", "web"); n != models.ManySessions+1 || err != nil {
		t.Errorf("what would end of the client: %d, %v", n, err)
	}
	if _, err := w.CountLive(t.Context(), acme, "user", ""); !errors.Is(err, models.ErrTooManyStored) {
		t.Errorf("what would end of the user: %v", err)
	}
}

// noScan fails the test if a statement reads a large table as a whole, or reads most
// of it by an index.
func noScan(t *testing.T, conn *pgx.Conn, statement pgx.TraceQueryStartData) {
	t.Helper()
	var text []byte
	if err := conn.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+statement.SQL, statement.Args...).Scan(&text); err != nil {
		t.Fatalf("%v\n%s", err, statement.SQL)
	}
	var plans []struct{ Plan planNode }
	must(t, json.Unmarshal(text, &plans))
	plans[0].Plan.walk(func(n planNode) {
		switch n.Table {
		case "sessions", "users", "events", "user_attributes", "event_deliveries", "suspensions":
		default:
			return
		}
		if read := (n.Rows + n.Removed) * n.Loops; read > models.MostExamined+1 || n.NodeType == "Seq Scan" && n.Loops > 0 {
			t.Errorf("%s of %s by %q reads %.0f rows:\n%s", n.NodeType, n.Table, n.Index, read, statement.SQL)
		}
	})
}
