package testdb

import "testing"

// Pair is a primary and its standby, of one test alone. They are as a careful
// operator runs them: a commit waits until the standby has it.
type Pair struct {
	Primary, Standby *Cluster
}

// NewPair starts a pair, and removes it after the test.
func NewPair(t testing.TB) *Pair {
	t.Helper()
	p := &Pair{Primary: NewCluster(t)}
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

// Promote makes the standby a primary. The former primary goes on as it was:
// its connections stay open, and it takes writes, though none of its commits
// ends, since no standby has it. Fence puts an end to that.
func (p *Pair) Promote() {
	p.Standby.t.Helper()
	p.Standby.Execute("SELECT pg_promote()")
	p.Standby.Wait("SELECT NOT pg_is_in_recovery()")
}

// Fence makes a server refuse writes, on connections that are open too.
func (c *Cluster) Fence() {
	c.t.Helper()
	c.Set("default_transaction_read_only", "on")
}

// Set changes a setting of the running server and waits until it has it.
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
