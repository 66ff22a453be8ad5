package handlers_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// statements records what the driver sends to PostgreSQL.
type statements struct {
	mu   sync.Mutex
	list []string
}

// TraceQueryStart implements pgx.QueryTracer.
func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, strings.ToLower(strings.Join(strings.Fields(data.SQL), " ")))
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// during lists the statements that do causes.
func (s *statements) during(do func()) []string {
	s.mu.Lock()
	s.list = nil
	s.mu.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list
}

func TestWhatEachFlowSendsToPostgreSQL(t *testing.T) {
	trace := &statements{}
	w := newWorld(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace})
	listed := listedWeb()
	listed.ID = "listed"
	w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend(), listed))
	signInListed := func() *testserver.Answer {
		return w.want(200, "", w.Exchange("", "listed", w.issuer.Token(w.URL, "alice", nil)))
	}
	token, onList := w.signIn("alice").Text("refresh_token"), signInListed().Text("refresh_token")

	refreshed := w.want(200, "", w.Refresh("", "web", token))
	token = refreshed.Text("refresh_token")

	draws, spends, opens := "with opened as (select list", "with changed as (insert into spent_tokens", "with changed as (insert into sessions"
	for _, flow := range []struct {
		name string
		do   func()
		want []string // how each statement begins
	}{
		{"an exchange", func() { w.signIn("alice") }, []string{"begin", spends, opens, "commit"}},
		{"an exchange with a status entry", func() { signInListed() }, []string{"begin", spends, draws, opens, "commit"}},
		{"a refresh with one", func() { w.want(200, "", w.Refresh("", "listed", onList)) }, []string{"update sessions"}},
		{"a status list", func() { w.want(200, "", w.Get("/status/0")) }, []string{"select", "select", "select"}},
		{"a status list that is known", func() { w.want(200, "", w.Get("/status/0")) }, nil},
		{"a user's first exchange", func() { w.signIn("bob") }, []string{"begin", spends, "insert into users", opens, "commit"}},
		{"an introspection", func() { w.active(refreshed.Text("access_token")) }, []string{"select"}},
		{"a refresh", func() { token = w.want(200, "", w.Refresh("", "web", token)).Text("refresh_token") }, []string{"update sessions"}},
		{"reading a session", func() { w.want(200, "", w.ask("GET /session", as(refreshed))) }, []string{"select"}},
		{"userinfo", func() { w.want(200, "", w.ask("GET /userinfo", as(refreshed))) }, []string{"select"}},
		{"listing sessions", func() { w.want(200, "", w.ask("GET /sessions", as(refreshed))) }, []string{"select", "select"}},
		{"a revocation", func() { w.want(200, "", w.Post("/revoke", []string{"client_id", "web", "token", token})) }, []string{"select", "with changed as (update sessions"}},
	} {
		sent := trace.during(flow.do)
		if !slices.EqualFunc(sent, flow.want, strings.HasPrefix) {
			t.Errorf("%s sends %d statements, want %d, which begin with %q:\n%s", flow.name, len(sent), len(flow.want), flow.want, strings.Join(sent, "\n"))
		}
	}

	for name, do := range map[string]func(){
		"client credentials": func() {
			w.want(200, "", w.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret)))
		},
		"the key set":         func() { w.want(200, "", w.Get("/.well-known/jwks.json")) },
		"metadata":            func() { w.want(200, "", w.Get("/.well-known/openid-configuration")) },
		"a made-up token":     func() { w.want(400, refused, w.Refresh("", "web", "lk_rt_"+strings.Repeat("A", 96))) },
		"a bad client token":  func() { w.want(400, "invalid_request", w.Exchange("", "web", "a.b.c")) },
		"an unauthentic call": func() { w.want(401, "invalid_client", w.Post("/introspect", []string{"token", token})) },
	} {
		if sent := trace.during(do); len(sent) != 0 {
			t.Errorf("%s sends\n%s", name, strings.Join(sent, "\n"))
		}
	}
}

func TestASessionDoesNotGrowWithUse(t *testing.T) {
	w := newWorld(t, testserver.Options{DatabaseURL: testdb.Postgres(t)})
	db := openDatabase(t, w.DatabaseURL)
	size := func() (rows, bytes int) {
		for _, table := range []string{"sessions", "events", "users", "spent_tokens", "revoked_tokens"} {
			var n, size int
			if err := db.QueryRow("SELECT count(*), COALESCE(sum(pg_column_size(t.*)), 0) FROM "+table+" t").Scan(&n, &size); err != nil {
				t.Fatal(err)
			}
			rows, bytes = rows+n, bytes+size
		}
		return rows, bytes
	}
	token := w.signIn("alice").Text("refresh_token")
	token = w.want(200, "", w.Refresh("", "web", token)).Text("refresh_token")
	rows, bytes := size()
	for range 99 {
		token = w.want(200, "", w.Refresh("", "web", token)).Text("refresh_token")
	}
	if r, b := size(); r != rows || b != bytes {
		t.Errorf("after 100 refreshes %d rows of %d bytes, after one %d of %d", r, b, rows, bytes)
	}
}

func TestRefusalsLeaveNothingBehind(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		db := openDatabase(t, w.DatabaseURL)
		rows := func() (n int) {
			for _, table := range []string{"sessions", "events", "users", "spent_tokens"} {
				var count int
				if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&count); err != nil {
					t.Fatal(err)
				}
				n += count
			}
			return n
		}
		before := rows()
		token := w.issuer.Token(w.URL, "alice", nil)
		w.want(400, "invalid_scope", w.Exchange("", "web", token, "scope", "admin"))
		w.want(400, "invalid_target", w.Exchange("", "web", token, "resource", "https://evil.example"))
		w.want(400, "invalid_target", w.Exchange("", "web", token, "resource", "https://api.example.com/#x"))
		w.want(400, "invalid_request", w.Exchange("", "web", token, "actor_token", "x"))
		w.want(400, "invalid_request", w.Exchange("", "web", token, "requested_token_type", "made-up"))
		w.want(401, "invalid_client", w.Exchange("", "nobody", token))
		if after := rows(); after != before {
			t.Errorf("%d rows, were %d", after, before)
		}
		w.want(200, "", w.Exchange("", "web", token)) // it is still unspent
	})
}
