package testdb

import (
	"os"
	"testing"
)

// Cluster is a PostgreSQL of one test alone, which the test may stop and start
// again. Its methods are for the test's own goroutine, since they fail the
// test themselves.
type Cluster struct {
	t      testing.TB
	server *server
}

// Mode is how a cluster stops.
type Mode int

const (
	// Fast ends every connection with an error and shuts down in order.
	Fast Mode = iota
	// Immediate ends every process where it stands; the next start recovers
	// what was committed.
	Immediate
)

// NewCluster starts a private cluster, also where EnvURL is set, and removes
// it after the test. Its commits wait for the disk, so that what they survive can
// be tested. It takes a few seconds: where cutting the connection is enough, use
// a Proxy.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	s, err := newServer(true)
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	t.Cleanup(s.close)
	return &Cluster{t: t, server: s}
}

// URL is that of an empty database, as a role that may create others. It stays
// the same when the cluster is started again.
func (c *Cluster) URL() string { return c.server.url() }

// Stop stops the server and returns when it is gone.
func (c *Cluster) Stop(mode Mode) {
	c.t.Helper()
	signal := map[Mode]os.Signal{Fast: stopFast, Immediate: stopImmediate}[mode]
	if err := c.server.stop(signal); err != nil {
		c.t.Fatalf("testdb: %v", err)
	}
}

// Start starts a stopped server and returns when it takes connections.
func (c *Cluster) Start() {
	c.t.Helper()
	if err := c.server.start(); err != nil {
		c.t.Fatalf("testdb: %v", err)
	}
}

// Restart stops the server and starts it again.
func (c *Cluster) Restart(mode Mode) {
	c.t.Helper()
	c.Stop(mode)
	c.Start()
}
