package testdb

import "testing"

// ReplicatedCluster is a primary and its standby, private to one test. Replication is
// synchronous: a commit waits until the standby has it.
type ReplicatedCluster struct {
	Primary, Standby *Cluster
}

// NewReplicatedCluster starts a primary with a standby, and removes both after the test.
func NewReplicatedCluster(t testing.TB) *ReplicatedCluster {
	t.Helper()
	p := &ReplicatedCluster{Primary: NewCluster(t)}
	s, err := newStandby(p.Primary.server)
	if err != nil {
		t.Fatalf("testdb: standby: %v", err)
	}
	t.Cleanup(s.close)
	p.Standby = &Cluster{t: t, server: s}
	p.Primary.Set("synchronous_standby_names", "*")
	p.Primary.Wait("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
	return p
}

// Promote makes the standby a primary. The former primary continues: its connections
// stay open and it accepts writes, although no commit completes, because no standby
// confirms it. Fence stops this.
func (p *ReplicatedCluster) Promote() {
	p.Standby.t.Helper()
	p.Standby.Execute("SELECT pg_promote()")
	p.Standby.Wait("SELECT NOT pg_is_in_recovery()")
}

// Fence makes a server reject writes, even on open connections.
func (c *Cluster) Fence() {
	c.t.Helper()
	c.Set("default_transaction_read_only", "on")
}

// Set changes a setting of the running server and waits until it takes effect.
func (c *Cluster) Set(setting, value string) {
	c.t.Helper()
	c.Execute("ALTER SYSTEM SET " + setting + " = '" + value + "'")
	c.Execute("SELECT pg_reload_conf()")
	c.Wait("SELECT current_setting('" + setting + "') = '" + value + "'")
}

// Execute runs a statement as the superuser.
func (c *Cluster) Execute(statement string) {
	c.t.Helper()
	if err := execute(c.URL(), statement); err != nil {
		c.t.Fatalf("testdb: %s: %v", statement, err)
	}
}

// Wait waits until a query yields true.
func (c *Cluster) Wait(query string) {
	c.t.Helper()
	if err := await(c.URL(), query); err != nil {
		c.t.Fatalf("testdb: waiting for %s: %v", query, err)
	}
}
