package testwire

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestWhatEachFlowSendsToPostgreSQL(t *testing.T) {
	trace := &testserver.StatementLog{}
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace})
	listed := testserver.WebOnStatusList()
	listed.ID = "listed"
	d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), listed))
	signInListed := func() *testserver.Answer {
		return d.Want(200, "", d.Exchange("", "listed", d.Issuer.Token(d.URL, "alice", nil)))
	}
	token, onList := d.SignIn("alice").Text("refresh_token"), signInListed().Text("refresh_token")

	refreshed := d.Want(200, "", d.Refresh("", "web", token))
	token = refreshed.Text("refresh_token")

	// A read also checks, in the same statement, whether this server is writable.
	const reads = "with writable as (update settings set value = value where false) select"
	draws, spends, opens := "with opened as (select list", "with changed as (insert into spent_tokens", "with changed as (insert into sessions"
	for _, flow := range []struct {
		name string
		do   func()
		want []string // the beginning of each statement
	}{
		{"an exchange", func() { d.SignIn("alice") }, []string{"begin", spends, opens, "commit"}},
		{"an exchange with a status entry", func() { signInListed() }, []string{"begin", spends, draws, opens, "commit"}},
		{"a refresh with one", func() { d.Want(200, "", d.Refresh("", "listed", onList)) }, []string{"update sessions"}},
		{"a status list", func() { d.Want(200, "", d.Get("/status/0")) }, []string{reads, reads, reads}},
		{"a status list that is known", func() { d.Want(200, "", d.Get("/status/0")) }, nil},
		{"a user's first exchange", func() { d.SignIn("bob") }, []string{"begin", spends, "insert into users", opens, "commit"}},
		{"an introspection", func() { d.Active(refreshed.Text("access_token")) }, []string{reads}},
		{"a refresh", func() { token = d.Want(200, "", d.Refresh("", "web", token)).Text("refresh_token") }, []string{"update sessions"}},
		{"reading a session", func() { d.Want(200, "", d.Request("GET /session", testserver.AsBearer(refreshed))) }, []string{reads}},
		{"userinfo", func() { d.Want(200, "", d.Request("GET /userinfo", testserver.AsBearer(refreshed))) }, []string{reads}},
		{"listing sessions", func() { d.Want(200, "", d.Request("GET /sessions", testserver.AsBearer(refreshed))) }, []string{reads, reads}},
		{"a revocation", func() { d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", token})) }, []string{reads, "with changed as (update sessions"}},
	} {
		sent := trace.During(flow.do)
		if !slices.EqualFunc(sent, flow.want, strings.HasPrefix) {
			t.Errorf("%s sends %d statements, want %d, which begin with %q:\n%s", flow.name, len(sent), len(flow.want), flow.want, strings.Join(sent, "\n"))
		}
	}

	for name, do := range map[string]func(){
		"client credentials": func() {
			d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret)))
		},
		"the key set":         func() { d.Want(200, "", d.Get("/.well-known/jwks.json")) },
		"metadata":            func() { d.Want(200, "", d.Get("/.well-known/openid-configuration")) },
		"a made-up token":     func() { d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", "lk_rt_"+strings.Repeat("A", 96))) },
		"a bad client token":  func() { d.Want(400, "invalid_request", d.Exchange("", "web", "a.b.c")) },
		"an unauthentic call": func() { d.Want(401, "invalid_client", d.Post("/introspect", []string{"token", token})) },
	} {
		if sent := trace.During(do); len(sent) != 0 {
			t.Errorf("%s sends\n%s", name, strings.Join(sent, "\n"))
		}
	}

	d.Clock.Advance(8 * 24 * time.Hour) // when a sign-in is recorded again
	d.SignIn("bob")                     // the node checks its configuration
	want := []string{"begin", spends, opens, "commit"}
	sent := trace.During(func() { d.SignIn("alice") })
	if !slices.EqualFunc(sent, want, strings.HasPrefix) || !strings.Contains(sent[2], "update users set seen_at") {
		t.Errorf("an exchange that records when the user was seen sends\n%s", strings.Join(sent, "\n"))
	}
}

func TestASessionDoesNotGrowWithUse(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t)})
	db := testserver.OpenDatabase(t, d.DatabaseURL)
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
	token := d.SignIn("alice").Text("refresh_token")
	token = d.Want(200, "", d.Refresh("", "web", token)).Text("refresh_token")
	rows, bytes := size()
	for range 99 {
		token = d.Want(200, "", d.Refresh("", "web", token)).Text("refresh_token")
	}
	if r, b := size(); r != rows || b != bytes {
		t.Errorf("after 100 refreshes %d rows of %d bytes, after one %d of %d", r, b, rows, bytes)
	}
}

func TestRejectedRequestsStoreNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		db := testserver.OpenDatabase(t, d.DatabaseURL)
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
		token := d.Issuer.Token(d.URL, "alice", nil)
		d.Want(400, "invalid_scope", d.Exchange("", "web", token, "scope", "admin"))
		d.Want(400, "invalid_target", d.Exchange("", "web", token, "resource", "https://evil.example"))
		d.Want(400, "invalid_target", d.Exchange("", "web", token, "resource", "https://api.example.com/#x"))
		d.Want(400, "invalid_request", d.Exchange("", "web", token, "actor_token", "x"))
		d.Want(400, "invalid_request", d.Exchange("", "web", token, "requested_token_type", "made-up"))
		d.Want(401, "invalid_client", d.Exchange("", "nobody", token))
		if after := rows(); after != before {
			t.Errorf("%d rows, were %d", after, before)
		}
		d.Want(200, "", d.Exchange("", "web", token)) // it is still unspent
	})
}
