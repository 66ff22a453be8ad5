package testdb

import (
	"testing"
)

func TestProxyCanBeCutAndHealed(t *testing.T) {
	proxy := NewProxy(t, EmptyPostgres(t))
	before, err := connect(t, proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}

	proxy.Cut()
	if err := before.Ping(t.Context()); err == nil {
		t.Error("a connection survived the cut")
	}
	if _, err := connect(t, proxy.URL()); err == nil {
		t.Error("a connection was made during the cut")
	}

	proxy.Heal()
	query(t, proxy.URL(), "SELECT 1")
	if err := before.Ping(t.Context()); err == nil {
		t.Error("a broken connection came back")
	}
}

func TestProxyCutsAStatementInTheMiddle(t *testing.T) {
	proxy := NewProxy(t, EmptyPostgres(t))
	conn, err := connect(t, proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	direct := EmptyPostgres(t) // pg_stat_activity shows all databases
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT pg_sleep(600)")
		ended <- err
	}()
	for query(t, direct, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND pid = "+pid(conn)) == 0 {
		if t.Failed() {
			return
		}
	}
	proxy.Cut()
	if err := <-ended; err == nil {
		t.Error("the statement ended without an error")
	}
}

func TestProxyReconnectsAfterAnOutage(t *testing.T) {
	cluster := NewCluster(t)
	proxy := NewProxy(t, cluster.URL())
	query(t, proxy.URL(), "SELECT 1")
	cluster.Stop(Fast)
	if _, err := connect(t, proxy.URL()); err == nil {
		t.Error("a connection was made to a stopped database")
	}
	cluster.Start()
	query(t, proxy.URL(), "SELECT 1")
}

func TestProxyURL(t *testing.T) {
	for name, c := range map[string]struct{ database, want string }{
		"of a host":      {"postgres://u:p@db.example:6432/d?sslmode=require", "postgres://u:p@ADDRESS/d?sslmode=require"},
		"of a socket":    {"postgres://u:p@/d?host=/run/pg&port=6432", "postgres://u:p@ADDRESS/d"},
		"of many hosts":  {"postgres://u@a:1,b:2/d", "postgres://u@ADDRESS/d"},
		"without a port": {"postgres://u@db.example/d", "postgres://u@ADDRESS/d"},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := parse(c.database)
			if err != nil {
				t.Fatal(err)
			}
			if got := through(*u, address("ADDRESS")); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }
