package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestASuspensionSurvivesApplyAndARestart(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.allowApply()
	s := d.serve()
	a := d.signIn(s, "alice")
	if printed := d.run("suspend", "client", "web", "--dry-run"); printed != "1 live session of client web of tenant default ends.\nThis was a dry run: nothing was changed.\n" {
		t.Errorf("a dry run prints\n%s", printed)
	}
	if r := s.refresh(a.text("refresh_token")); r.status != 200 {
		t.Fatalf("a dry run ends sessions: %d", r.status)
	}
	printed := d.run("suspend", "client", "web", "--reason", "secret leaked")
	for _, want := range []string{"1 live session of client web of tenant default ends.\n", "Suspended client web of tenant default. This takes effect on every server within 5 seconds.\n",
		"To lift the suspension: latchkey resume client web --config " + d.file + "\n"} {
		if !strings.Contains(printed, want) {
			t.Errorf("it does not print %q:\n%s", want, printed)
		}
	}
	eventually(t, "the server rejects the client", func() bool { return s.exchange(d.clientToken("alice", nil)).status == 401 })
	for _, args := range [][]string{{"apply", "--dry-run"}, {"apply", "--prune"}} {
		if printed := d.run(args...); !strings.Contains(printed, "! client web of tenant default is suspended since ") ||
			!strings.Contains(printed, ": secret leaked. To lift the suspension: latchkey resume client web --config "+d.file+"\n") {
			t.Errorf("%v does not mention the suspension:\n%s", args, printed)
		}
	}
	restarted := d.serve()
	if r := restarted.exchange(d.clientToken("alice", nil)); r.status != 401 {
		t.Errorf("a server that starts lifts the suspension: %d", r.status)
	}
	if printed := d.run("suspend", "--list"); !strings.Contains(printed, "web") || !strings.Contains(printed, "secret leaked") {
		t.Errorf("the list is\n%s", printed)
	}
	if printed := d.run("suspend", "client", "web"); !strings.Contains(printed, "Client web of tenant default is already suspended since ") {
		t.Errorf("suspended twice, it prints\n%s", printed)
	}
	if printed := d.run("resume", "client", "web"); !strings.HasPrefix(printed, "Resumed client web of tenant default. It was suspended since ") {
		t.Errorf("resume prints\n%s", printed)
	}
	eventually(t, "the client works again", func() bool { return s.exchange(d.clientToken("alice", nil)).status == 200 })
}

func TestSuspendReportsInvalidArguments(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.run("migrate")
	for line, want := range map[string]string{
		"suspend client":                          "two arguments are required: one of tenant, client, issuer, user, and an id",
		"suspend clients web":                     `"clients" cannot be suspended: the first argument must be one of tenant, client, issuer, user`,
		"suspend tenant acme --tenant b":          "--tenant applies only to clients, issuers and users",
		"suspend client web --tenant A":           `"A" is not a valid tenant id`,
		"suspend --list client web":               "--list takes no arguments",
		"resume user alice":                       "user alice of tenant default is not suspended",
		"resume user alice --tenant acme --force": "unknown flag: --force",
	} {
		t.Run(line, func(t *testing.T) { d.rejects(strings.Fields(line), want) })
	}
	if printed := d.run("suspend", "user", "alcie", "--tenant", "acme"); !strings.Contains(printed, "This id does not exist: check the spelling.") ||
		!strings.Contains(printed, "latchkey resume user alcie --tenant acme") {
		t.Errorf("a user who does not exist: it prints\n%s", printed)
	}
}

func TestASuspendedIssuerWithAChangedURLIsListedAndResumed(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.edit("- issuer: "+d.issuer.URL, "- id: auth\n        issuer: "+d.issuer.URL)
	d.started()
	d.run("suspend", "issuer", d.issuer.URL, "--reason", "breached")
	other := testserver.NewIssuer(t, testserver.NewClock())
	d.edit("issuer: "+d.issuer.URL, "issuer: "+other.URL)
	s := d.serve()
	if log := s.err.String(); !strings.Contains(log, `"level":"WARN","msg":"suspended, regardless of the configuration file`) || !strings.Contains(log, `"kind":"issuer","id":"auth"`) || !strings.Contains(log, `"reason":"breached"`) {
		t.Errorf("the log of serve does not report the suspension:\n%s", log)
	}
	list := d.run("suspend", "--list")
	for _, want := range []string{"auth (suspended as " + d.issuer.URL + ")", d.issuer.URL + " (does not exist)", "breached"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list does not contain %q:\n%s", want, list)
		}
	}
	wantFinding(t, d.examined(), isWarning, "suspensions", "issuer auth of tenant default is suspended since", "breached", "latchkey resume issuer auth")
	d.issuer = other
	if r := s.exchange(d.clientToken("alice", nil)); r.status != 400 {
		t.Errorf("its token gets status %d", r.status)
	}
	printed := d.run("resume", "issuer", other.URL)
	if want := "To lift that suspension too: latchkey resume issuer "; !strings.HasPrefix(printed, "Resumed issuer "+other.URL+" of tenant default. It was suspended since ") || !strings.Contains(printed, want) {
		t.Errorf("resume prints\n%s", printed)
	}
	eventually(t, "its tokens are accepted", func() bool { return s.exchange(d.clientToken("alice", nil)).status == 200 })
	for _, f := range d.examined() {
		if f.Check == "suspensions" {
			t.Errorf("doctor finds %s", f.Text)
		}
	}
}

func TestResumeReportsOtherSuspensions(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.started()
	for _, name := range []string{d.issuer.URL, d.issuerID()} {
		d.run("suspend", "issuer", name)
	}
	if printed := d.run("resume", "issuer", d.issuerID()); !strings.Contains(printed, "! It stays disabled, because it is also suspended since ") || !strings.Contains(printed, "To lift that suspension: latchkey resume issuer "+d.issuer.URL) {
		t.Errorf("resume prints\n%s", printed)
	}
	d.edit("- issuer: "+d.issuer.URL, "- id: second\n        issuer: "+d.issuer.URL+"\n        audiences: [other]\n        share_subjects: true\n        token_type: jwt\n        keys: { discovery: true }\n        allow_private_addresses: true\n      - id: "+d.issuerID()+"\n        share_subjects: true\n        issuer: "+d.issuer.URL)
	d.started()
	d.rejects([]string{"resume", "issuer", "second"}, "issuer second of tenant default was not resumed: it is suspended under another name: resume "+d.issuer.URL+" (which also suspends "+d.issuerID()+")")
}

func TestDoctorListsALimitedNumberOfSuspensions(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newDeployment(t, url)
	var users strings.Builder
	for i := range maxSuspensions + 3 {
		fmt.Fprintf(&users, "      - { sub: user-%02d }\n", i)
	}
	d.write("latchkey.yaml", d.text()+"    users:\n"+users.String())
	d.started()
	statement(t, url, "UPDATE users SET suspended_at = 1")
	d.run("suspend", "user", "nobody") // no such user exists
	findings := d.examined()
	lines := strings.Count(findingsText(findings), "to lift the suspension: latchkey resume user")
	if lines != maxSuspensions {
		t.Errorf("%d lines, want %d", lines, maxSuspensions)
	}
	wantFinding(t, findings, isWarning, "suspensions", "3 more suspensions; run latchkey suspend --list")
}
