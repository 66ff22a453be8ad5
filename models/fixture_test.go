package models_test

import (
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	_ "github.com/latchkey/latchkey/internal/testdb/schema"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// start is when every test begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock moves only when the test moves it.
type clock struct{ passed atomic.Int64 }

func (c *clock) Now() time.Time          { return start.Add(time.Duration(c.passed.Load())) }
func (c *clock) Advance(d time.Duration) { c.passed.Add(int64(d)) }

// fixture is a migrated database with one tenant, and a Store over it. Its
// tenant has the clients web and shop, and one trusted issuer.
type fixture struct {
	*models.Store
	testing.TB
	url    string
	clock  *clock
	db     *sql.DB // a separate connection, which sees what is committed
	issuer string  // id of the issuer's entry
}

const acme = "default" // the tenant of most tests

// each runs test with a fixture on SQLite and with one on PostgreSQL.
func each(t *testing.T, test func(t *testing.T, w *fixture)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, url string) { test(t, newFixture(t, url)) })
}

func newFixture(t testing.TB, url string) *fixture {
	t.Helper()
	w := &fixture{TB: t, url: url, clock: new(clock), db: connect(t, url)}
	w.Store = w.another(models.Options{})
	must(t, w.Migrate(t.Context()))
	w.apply(tenant())
	w.issuer = w.config().Issuers[0].ID
	return w
}

// another opens a further Store on the same database and the same clock.
func (w *fixture) another(opts models.Options) *models.Store {
	w.Helper()
	opts.Clock, opts.TrustClock = w.clock.Now, true
	return open(w.TB, w.url, opts)
}

func open(t testing.TB, url string, opts models.Options) *models.Store {
	t.Helper()
	opts.Dial = testdb.Dial
	store, err := models.Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // a test may have cut its connections
	return store
}

// connect opens the database without the code under test.
func connect(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := testdb.Open(url)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// tenant is the configuration of every new fixture.
func tenant() settings.TenantSpec {
	client := func(id string) settings.ClientSpec {
		return settings.ClientSpec{ID: id, ClientSettings: settings.ClientSettings{
			Auth: settings.AuthNone, Grants: []string{settings.GrantTokenExchange, settings.GrantRefresh},
		}}
	}
	return settings.TenantSpec{
		ID:             acme,
		Clients:        []settings.ClientSpec{client("web"), client("shop")},
		TrustedIssuers: []settings.IssuerSpec{entry("https://auth.example.com", "")},
	}
}

func entry(issuer, prefix string, audiences ...string) settings.IssuerSpec {
	return settings.IssuerSpec{IssuerSettings: settings.IssuerSettings{
		Issuer: issuer, TokenType: settings.TokenTypeJWT, SubjectPrefix: prefix, Audiences: audiences,
		Keys: settings.IssuerKeys{Discovery: true},
	}}
}

// apply applies the configuration and returns the changes.
func (w *fixture) apply(tenants ...settings.TenantSpec) []models.Change {
	w.Helper()
	changes, err := w.Apply(w.Context(), tenants, secrets{}, models.ApplyOptions{Replace: true})
	must(w, err)
	return changes
}

func (w *fixture) config() *models.TenantConfig {
	w.Helper()
	config, err := w.TenantConfig(w.Context(), acme)
	must(w, err)
	return config
}

// alice is a new session of the user alice at the client web, with a fresh
// client token.
func (w *fixture) alice(change ...func(*models.NewSession)) models.NewSession {
	jti := sha256.Sum256([]byte(rand.Text()))
	n := models.NewSession{
		Session: models.Session{
			ID: models.NewSessionID(), TenantID: acme, ClientID: "web", IssuerID: w.issuer, Subject: "alice",
			CreatedAt: w.Now(), AuthTime: w.Now(), LastActiveAt: w.Now(),
			AbsoluteExpiry: w.Now().Add(24 * time.Hour), IdleExpiry: w.Now().Add(time.Hour),
			Refresh: models.Chain{Digest: digest(0), Next: digest(1), RootVersion: 1},
			Factors: []session.Factor{{AMR: "pwd", Issuer: "https://auth.example.com", AuthTime: w.Now()}},
			Scope:   []string{"profile"}, UserAgent: "curl", IP: "203.0.113.7",
		},
		Token:      models.SpentToken{Issuer: "https://auth.example.com", Digest: jti[:], IssuedAt: w.Now(), ExpiresAt: w.Now().Add(10 * time.Minute)},
		CreateUser: true,
	}
	for _, f := range change {
		f(&n)
	}
	return n
}

// digest stands for the digest of the refresh token of a generation.
func digest(generation uint32) []byte {
	sum := sha256.Sum256(fmt.Append(nil, "generation ", generation))
	return sum[:]
}

// signs is the callback of an exchange whose signing succeeds.
func signs(*models.Session) error { return nil }

func (w *fixture) create(n models.NewSession) *models.Session {
	w.Helper()
	created, err := w.CreateSession(w.Context(), n, signs)
	must(w, err)
	return created
}

func (w *fixture) read(id models.SessionID) *models.Session {
	w.Helper()
	row, err := w.Session(w.Context(), acme, id)
	must(w, err)
	return row
}

// step is the rotation of a session from one generation to the next, now.
func (w *fixture) step(of *models.Session, from uint32) models.Rotation {
	return models.Rotation{
		Tenant: of.TenantID, Client: of.ClientID, ID: of.ID, From: from, Presented: digest(from),
		To:         models.Chain{Generation: from + 1, Digest: digest(from + 1), Next: digest(from + 2), RootVersion: 1, RotatedAt: w.Now()},
		IdleExpiry: w.Now().Add(time.Hour), UserAgent: "curl", IP: "203.0.113.7",
	}
}

var tables = []string{"tenants", "clients", "trusted_issuers", "users", "signing_keys", "sessions", "spent_tokens", "revoked_tokens", "events", "leases", "settings", "status_lists"}

// rows counts the rows of every table, as another connection sees them, without
// the audit events of changes of the configuration.
func (w *fixture) rows() map[string]int {
	w.Helper()
	counts := map[string]int{}
	for _, table := range tables {
		counts[table] = w.number("SELECT count(*) FROM " + table)
	}
	counts["events"] -= w.number("SELECT count(*) FROM events WHERE type = 'config_changed'")
	return counts
}

func (w *fixture) wantRows(want map[string]int) {
	w.Helper()
	if got := w.rows(); !maps.Equal(got, want) {
		w.Errorf("the tables hold %v rows, want %v", got, want)
	}
}

// number returns the number that a query on the other connection yields; ? is
// the placeholder of each argument.
func (w *fixture) number(query string, args ...any) (n int) {
	w.Helper()
	must(w, w.db.QueryRowContext(w.Context(), w.placeholders(query), args...).Scan(&n))
	return n
}

func (w *fixture) exec(statement string, args ...any) {
	w.Helper()
	_, err := w.db.ExecContext(w.Context(), w.placeholders(statement), args...)
	must(w, err)
}

func (w *fixture) placeholders(query string) string {
	for i := 1; w.Dialect() == "postgres" && strings.Contains(query, "?"); i++ {
		query = strings.Replace(query, "?", fmt.Sprint("$", i), 1)
	}
	return query
}

// events lists the types of a session's events, in order.
func (w *fixture) events(id models.SessionID) string {
	w.Helper()
	events, err := w.SessionEvents(w.Context(), acme, id)
	must(w, err)
	var types []string
	for _, e := range events {
		types = append(types, string(e.Type))
	}
	return strings.Join(types, " ")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func span(d time.Duration) *settings.Duration { return (*settings.Duration)(&d) }

func duration(text string) *settings.Duration {
	d, err := settings.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return &d
}
