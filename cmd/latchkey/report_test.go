package main

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/internal/testdb"
)

// nodes returns the nodes by name, as an operator sees them.
func (o *operator) nodes() map[string]admin.Node {
	o.t.Helper()
	a := o.server.get("/admin/v1/nodes", header("Authorization", "Bearer "+o.key))
	if a.status != 200 {
		o.t.Fatalf("nodes: %d %s", a.status, a.body)
	}
	var list admin.Nodes
	must(o.t, json.Unmarshal([]byte(a.body), &list))
	found := map[string]admin.Node{}
	for _, n := range list.Items {
		found[n.Name] = n
	}
	return found
}

// ago makes the report of a node older.
func ago(t *testing.T, url, name string, seconds int) {
	t.Helper()
	db, err := testdb.Open(url)
	must(t, err)
	defer db.Close()
	_, err = db.Exec("UPDATE nodes SET seen_at = seen_at - " + strconv.Itoa(seconds) + "000000 WHERE name = '" + name + "'")
	must(t, err)
}

func TestTwoNodesReportAndAKilledOneIsMissing(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newRaceDeployment(t, url)
	stopped, killed := d.serve("LATCHKEY_NODE_NAME=stopped"), d.serve("LATCHKEY_NODE_NAME=killed")
	o := d.operator("viewer")
	eventually(t, "the reports of three nodes", func() bool {
		n := o.nodes()
		return len(n) == 3 && n["stopped"].State == "ready" && n["killed"].State == "ready"
	})
	if n := o.nodes()["killed"]; n.Version != thisBuild().short() || n.StartedAt.IsZero() || n.SeenAt.Before(n.StartedAt) || n.LogAgeSeconds == nil || *n.LogAgeSeconds > 5 {
		t.Errorf("a node reports %+v", n)
	}
	stopped.signal(syscall.SIGTERM)
	stopped.wait()
	killed.signal(syscall.SIGKILL)
	killed.wait()
	n := o.nodes()
	if _, listed := n["stopped"]; listed || n["killed"].State != "ready" {
		t.Errorf("after the end of two nodes, they are %+v", n)
	}
	ago(t, url, "killed", 31)
	if n := o.nodes()["killed"]; n.State != "missing" {
		t.Errorf("a node that does not report is %+v", n)
	}
	ago(t, url, "killed", 300)
	if _, listed := o.nodes()["killed"]; listed {
		t.Error("a node that has not reported for 5 minutes is listed")
	}
	eventually(t, "its row is deleted", func() bool { return count(t, url, "SELECT count(*) FROM nodes WHERE name = 'killed'") == 0 })
}

func TestANodeThatRestartsAfterAKillListsTheFormerProcessAsMissing(t *testing.T) {
	t.Parallel()
	url := testdb.SQLite(t)
	d := newDeployment(t, url)
	first := d.operator("owner")
	var before admin.Node
	eventually(t, "the first report", func() bool {
		for _, before = range first.nodes() { // by the name of the host
		}
		return before.ID != "" && before.Name != ""
	})
	first.server.signal(syscall.SIGKILL)
	first.server.wait()
	ago(t, url, before.Name, 31)
	second := first.with(first.key)
	second.server = d.serve("LATCHKEY_ADMIN_LISTEN=127.0.0.1:0", "LATCHKEY_NODE_NAME=second")
	eventually(t, "the report of the second process", func() bool { return second.nodes()["second"].State == "ready" })
	if n := second.nodes()[before.Name]; n.ID != before.ID || n.State != "missing" {
		t.Errorf("the killed process is %+v", n)
	}
}

func TestTheReasonOfANodeIsShortAndStorable(t *testing.T) {
	for text, want := range map[string]string{
		"the node is stopping": "the node is stopping", "a\x00b\xffc": "ab?c", strings.Repeat("é", 200): strings.Repeat("é", 150) + "…", "x" + strings.Repeat("é", 200): "x" + strings.Repeat("é", 149) + "…",
	} {
		if got := reasonOf(errors.New(text)); got != want || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	if got := reasonOf(nil); got != "" {
		t.Errorf("no error becomes %q", got)
	}
}
