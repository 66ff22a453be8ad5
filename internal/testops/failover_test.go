package testops

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// failover is a cluster of nodes whose primary fails over to a standby while
// connections to the former primary stay open.
type failover struct {
	*testserver.Deployment
	t       *testing.T
	cluster *testdb.ReplicatedCluster
	proxy   *testdb.Proxy

	live, revoked, fresh *testserver.Answer // sessions: unchanged; revoked, or opened, after the promotion
}

func newFailover(t *testing.T) *failover {
	f := &failover{t: t, cluster: testdb.NewReplicatedCluster(t)}
	f.proxy = testdb.NewProxy(t, f.cluster.Primary.URL())
	f.Deployment = testserver.NewSessionDeployment(t, testserver.Options{DatabaseURL: f.proxy.URL()})
	f.live, f.revoked = f.SignIn("alice"), f.SignIn("alice")
	return f
}

// node starts another node, with several connections in its pool.
func (f *failover) node() *testserver.Deployment {
	f.t.Helper()
	d := f.OtherNode()
	f.useConnections(d)
	return d
}

func (f *failover) useConnections(d *testserver.Deployment) {
	f.t.Helper()
	for _, a := range testserver.InParallel(8, func(int) *testserver.Answer { return d.Introspect("", f.live.Text("access_token")) }) {
		f.Want(200, "", a)
	}
}

// promote promotes the standby, forwards new connections to it, and writes to it.
func (f *failover) promote() {
	f.t.Helper()
	f.cluster.Promote()
	f.proxy.Point(f.t, f.cluster.Standby.URL())
	after := f.OtherNode()
	f.Want(200, "", after.Post("/revoke", []string{"token", f.revoked.Text("refresh_token"), "client_id", "web"}))
	f.fresh = f.Want(200, "", after.Exchange("", "web", f.Issuer.Token(f.URL, "alice", nil)))
}

// reader is a request whose correct response differs before and after the promotion.
type reader struct {
	name string
	ask  func(d *testserver.Deployment) *testserver.Answer
	want func(a *testserver.Answer) bool
}

func (f *failover) readers() []reader {
	introspect := func(name string, of *testserver.Answer, active bool) reader {
		return reader{"introspection of " + name, func(d *testserver.Deployment) *testserver.Answer {
			return d.Introspect("", of.Text("access_token"))
		}, func(a *testserver.Answer) bool { return a.Status == 200 && a.JSON["active"] == active }}
	}
	get := func(name, path string, as testserver.Option, want func(a *testserver.Answer) bool) reader {
		return reader{name, func(d *testserver.Deployment) *testserver.Answer { return d.Get(path, as) }, want}
	}
	status := func(want int) func(*testserver.Answer) bool {
		return func(a *testserver.Answer) bool { return a.Status == want }
	}
	lists := func(a *testserver.Answer) bool {
		text := string(a.Body)
		return a.Status == 200 && strings.Contains(text, f.fresh.Text("session_id")) && !strings.Contains(text, f.revoked.Text("session_id"))
	}
	return []reader{
		introspect("a revoked access token", f.revoked, false),
		introspect("a new access token", f.fresh, true),
		get("the session of a revoked bearer", "/session", testserver.AsBearer(f.revoked), status(401)),
		get("the session of a new bearer", "/session", testserver.AsBearer(f.fresh), status(200)),
		get("userinfo of a revoked bearer", "/userinfo", testserver.AsBearer(f.revoked), status(401)),
		get("the user's sessions", "/sessions", testserver.AsBearer(f.live), lists),
		get("the back end's list of sessions", "/sessions?sub=alice", testserver.AsSupport(), lists),
		{"a refresh of a revoked session", func(d *testserver.Deployment) *testserver.Answer {
			return d.Refresh("", "web", f.revoked.Text("refresh_token"))
		}, status(400)},
		{"a refresh of a new session", func(d *testserver.Deployment) *testserver.Answer {
			return d.Refresh("", "web", f.fresh.Text("refresh_token"))
		}, status(200)},
		{"sign-out of a new session", func(d *testserver.Deployment) *testserver.Answer {
			return d.Do(http.MethodDelete, "/sessions/"+f.fresh.Text("session_id"), nil, testserver.AsSupport())
		}, status(204)},
	}
}

// While the clock does not move, no connection is due for a check, so the database
// server itself must reject the queries.
func TestAReadOnlyFormerPrimaryServesNoReads(t *testing.T) {
	f := newFailover(t)
	nodes := make([]*testserver.Deployment, 10)
	for i := range nodes {
		nodes[i] = f.node()
	}
	f.promote()
	f.cluster.Primary.Fence()
	readers := f.readers()
	if len(readers) != len(nodes) {
		t.Fatalf("%d readers, %d nodes", len(readers), len(nodes))
	}
	for i, r := range readers { // each is the first request to its node
		if a := r.ask(nodes[i]); !r.want(a) {
			t.Errorf("%s: %d %s", r.name, a.Status, a.Body)
		}
	}
	for _, d := range nodes {
		f.Want(200, "", d.Get("/readyz"))
	}
}

func TestANodeRecoversFromAReadOnlyDatabase(t *testing.T) {
	f := newFailover(t)
	f.useConnections(f.Deployment)
	f.cluster.Primary.Fence()
	for range 2 { // on old connections, then on new ones
		for name, a := range map[string]*testserver.Answer{
			"introspection": f.Introspect("", f.live.Text("access_token")),
			"refresh":       f.Refresh("", "web", f.live.Text("refresh_token")),
			"sessions":      f.Get("/sessions", testserver.AsBearer(f.live)),
			"revocation":    f.Post("/revoke", []string{"token", f.live.Text("refresh_token"), "client_id", "web"}),
		} {
			if a.Status != 503 || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
		}
		if a := f.Get("/readyz"); a.Status != 503 || a.Text("reason") != "the database is read-only" {
			t.Errorf("readyz: %d %s", a.Status, a.Body)
		}
	}
	f.cluster.Primary.Set("default_transaction_read_only", "off")
	f.Want(200, "", f.Get("/readyz"))
	f.Want(200, "", f.Refresh("", "web", f.live.Text("refresh_token")))
}

// A former primary without fencing continues to respond on open connections. A node
// detects it by the timeline of a new connection.
func TestANodeLeavesAWritableFormerPrimary(t *testing.T) {
	f := newFailover(t)
	d := f.node()
	f.promote()
	d.Clock.Advance(10 * time.Second) // after which the node checks one connection
	d.Store.Probe(t.Context())
	for _, r := range f.readers() {
		if a := r.ask(d); !r.want(a) {
			t.Errorf("%s: %d %s", r.name, a.Status, a.Body)
		}
	}
	if log := d.Log.String(); !strings.Contains(log, "leads to another primary") {
		t.Error("the log does not report the new primary")
	}
	f.proxy.Point(t, f.cluster.Primary.URL()) // a proxy that does not know of the failover
	d.Clock.Advance(time.Hour)                // its connections are too old to be reused
	if a := d.Get("/readyz"); a.Status != 503 || a.Text("reason") != "the database is a former primary" {
		t.Errorf("readyz: %d %s", a.Status, a.Body)
	}
	f.Want(503, "temporarily_unavailable", d.Introspect("", f.live.Text("access_token")))
}
