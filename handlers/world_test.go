package handlers_test

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// world is a server with the tenant "default", its issuer, and the clients web
// (public) and backend (secret).
type world struct {
	*testserver.Server
	issuer *testserver.Issuer
	t      *testing.T
}

// eachDatabase runs a test on SQLite and on PostgreSQL.
func eachDatabase(t *testing.T, test func(t *testing.T, w *world)) {
	testdb.Each(t, func(t *testing.T, url string) { test(t, newWorld(t, testserver.Options{DatabaseURL: url})) })
}

func newWorld(t *testing.T, o testserver.Options, clients ...models.ClientSpec) *world {
	if o.Clock == nil {
		o.Clock = testserver.NewClock()
	}
	w := &world{issuer: testserver.NewIssuer(t, o.Clock), t: t}
	w.Server = testserver.New(t, o)
	if clients == nil {
		clients = []models.ClientSpec{testserver.Web(), testserver.Backend()}
	}
	w.Apply(testserver.Tenant("default", w.issuer, clients...))
	return w
}

// signIn exchanges a fresh client token at the public client and must succeed.
func (w *world) signIn(sub string, extra ...string) *testserver.Answer {
	w.t.Helper()
	return w.want(200, "", w.Exchange("", "web", w.issuer.Token(w.URL, sub, nil), extra...))
}

// signInAtBackend exchanges a fresh client token at the client backend, which
// gets a session token as well.
func (w *world) signInAtBackend(sub string) *testserver.Answer {
	w.t.Helper()
	return w.want(200, "", w.Post("/token", []string{
		"grant_type", tokenExchange, "subject_token_type", ofJWT, "subject_token", w.issuer.Token(w.URL, sub, nil),
	}, asBackend()))
}

// want checks status and error code of an answer.
func (w *world) want(status int, code string, a *testserver.Answer) *testserver.Answer {
	w.t.Helper()
	if a.Status != status || a.Error() != code {
		w.t.Fatalf("answered %d %s, want %d %s", a.Status, a.Body, status, code)
	}
	return a
}

// active asks whether an access token is active.
func (w *world) active(token string) bool {
	w.t.Helper()
	return w.want(200, "", w.Introspect("", token)).JSON["active"] == true
}

// events lists what happened to a session.
func (w *world) events(sid string) (types []models.EventType) {
	w.t.Helper()
	id, err := models.ParseSessionID(sid)
	if err != nil {
		w.t.Fatal(err)
	}
	events, err := w.Store.SessionEvents(context.Background(), "default", id)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

func duration(d time.Duration) *models.Duration {
	of := models.Duration(d)
	return &of
}

// openDatabase opens a test's database beside the server.
func openDatabase(t testing.TB, url string) *sql.DB {
	driver, dsn := "pgx", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// now is the clock's time and so many seconds, as JSON has it.
func (w *world) now(seconds int64) string {
	return strconv.FormatInt(w.Clock.Now().Unix()+seconds, 10)
}
