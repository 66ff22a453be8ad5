package testdb

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestClusterKeepsItsDataAndURLAcrossARestart(t *testing.T) {
	cluster := NewCluster(t)
	url := cluster.URL()
	query(t, url, "CREATE TABLE t (n int)")
	for name, mode := range map[string]Mode{"fast": Fast, "immediate": Immediate} {
		t.Run(name, func(t *testing.T) {
			conn, err := connect(t, url)
			if err != nil {
				t.Fatal(err)
			}
			cluster.Stop(mode)
			if err := conn.Ping(t.Context()); err == nil {
				t.Error("a connection outlived the server")
			}
			if _, err := connect(t, url); err == nil {
				t.Error("a stopped server took a connection")
			}
			cluster.Stop(mode) // a stopped one stays stopped
			cluster.Start()
			query(t, url, "INSERT INTO t VALUES (1)")
		})
	}
	cluster.Restart(Fast)
	if n := query(t, url, "SELECT count(*) FROM t"); n != 2 || cluster.URL() != url {
		t.Errorf("after restarts: %d rows, want 2, at %s", n, cluster.URL())
	}
}

func TestStartRejectsARunningServer(t *testing.T) {
	cluster := NewCluster(t)
	if err := cluster.server.start(); err == nil {
		t.Error("a running server was started again")
	}
	query(t, cluster.URL(), "SELECT 1")
}

func pid(conn *pgx.Conn) string { return strconv.Itoa(int(conn.PgConn().PID())) }
