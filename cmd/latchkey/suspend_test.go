package main

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestASuspensionSurvivesApplyAndARestart(t *testing.T) {
	d := newDeployment(t, testdb.SQLite(t))
	d.shared()
	s := d.serve()
	a := d.signIn(s, "alice")
	if said := d.run("suspend", "client", "web", "--dry-run"); said != "1 live session of client web of tenant default ends.\nNothing was changed: this was a dry run.\n" {
		t.Errorf("a dry run prints\n%s", said)
	}
	if r := s.refresh(a.text("refresh_token")); r.status != 200 {
		t.Fatalf("a dry run ends sessions: %d", r.status)
	}
	said := d.run("suspend", "client", "web", "--reason", "secret leaked")
	for _, want := range []string{"1 live session of client web of tenant default ends.\n", "Suspended client web of tenant default. Every server knows within 5 seconds.\n",
		"To switch it on again: latchkey resume client web --config " + d.file + "\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not print %q:\n%s", want, said)
		}
	}
	eventually(t, "the server refuses the client", func() bool { return s.exchange(d.clientToken("alice", nil)).status == 401 })
	for _, args := range [][]string{{"apply", "--dry-run"}, {"apply", "--prune"}} {
		if said := d.run(args...); !strings.Contains(said, "! client web of tenant default is suspended since ") ||
			!strings.Contains(said, ": secret leaked. It stays off until: latchkey resume client web --config "+d.file+"\n") {
			t.Errorf("%v does not mention the suspension:\n%s", args, said)
		}
	}
	restarted := d.serve()
	if r := restarted.exchange(d.clientToken("alice", nil)); r.status != 401 {
		t.Errorf("a server that starts lifts the suspension: %d", r.status)
	}
	if said := d.run("suspend", "--list"); !strings.Contains(said, "web") || !strings.Contains(said, "secret leaked") {
		t.Errorf("the list is\n%s", said)
	}
	if said := d.run("suspend", "client", "web"); !strings.Contains(said, "Client web of tenant default is already suspended since ") {
		t.Errorf("suspended twice, it prints\n%s", said)
	}
	if said := d.run("resume", "client", "web"); !strings.HasPrefix(said, "Resumed client web of tenant default. It was suspended since ") {
		t.Errorf("resume prints\n%s", said)
	}
	eventually(t, "the client works again", func() bool { return s.exchange(d.clientToken("alice", nil)).status == 200 })
}

func TestSuspendSaysWhatIsWrong(t *testing.T) {
	d := newDeployment(t, testdb.SQLite(t))
	d.run("migrate")
	for line, want := range map[string]string{
		"suspend client":                          "give a noun (tenant, client, issuer, user) and an id",
		"suspend clients web":                     `"clients" cannot be suspended: the noun must be one of tenant, client, issuer, user`,
		"suspend tenant acme --tenant b":          "--tenant is for clients, issuers and users",
		"suspend client web --tenant A":           `no tenant can have the id "A"`,
		"suspend --list client web":               "--list takes no arguments",
		"resume user alice":                       "user alice of tenant default is not suspended",
		"resume user alice --tenant acme --force": "unknown flag: --force",
	} {
		t.Run(line, func(t *testing.T) { d.refuses(strings.Fields(line), want) })
	}
	if said := d.run("suspend", "user", "alcie", "--tenant", "acme"); !strings.Contains(said, "Nothing has this id now: check the spelling.") ||
		!strings.Contains(said, "latchkey resume user alcie --tenant acme") {
		t.Errorf("a user who does not exist: it prints\n%s", said)
	}
}
