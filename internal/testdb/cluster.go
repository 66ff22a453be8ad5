package testdb

import (
	"os"
	"testing"
)

// Cluster is a private PostgreSQL cluster of one test, which may stop and restart it.
// Call its methods only from the goroutine of the test, because they call t.Fatal.
type Cluster struct {
	t      testing.TB
	server *server
}

// Mode is how a cluster stops.
type Mode int

const (
	// Fast ends every connection with an error and shuts down in order.
	Fast Mode = iota
	// Immediate ends every process at once; the next start recovers
	// committed data.
	Immediate
)

// NewCluster starts a private cluster, even if EnvURL is set, and removes it after
// the test. Its commits wait for the disk, so that tests can check what survives a
// crash. Starting it takes a few seconds: use a Proxy if cutting the connection is
// enough.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	s, err := newServer(true)
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	t.Cleanup(s.close)
	return &Cluster{t: t, server: s}
}

// URL returns the URL of an empty database, for a role that may create others. It
// stays the same across restarts.
func (c *Cluster) URL() string { return c.server.url() }

// Stop stops the server and returns when it has exited.
func (c *Cluster) Stop(mode Mode) {
	c.t.Helper()
	signal := map[Mode]os.Signal{Fast: stopFast, Immediate: stopImmediate}[mode]
	if err := c.server.stop(signal); err != nil {
		c.t.Fatalf("testdb: %v", err)
	}
}

// Start starts a stopped server and returns when it accepts connections.
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
