package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestApplyTakesAFileOfTenantsOnly(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.allowApply()
	d.write("other.yaml", "tenants: [{ id: default, clients: [{ id: extra, auth: none, grants: [token-exchange] }] }]\n")
	if printed := d.run("apply", "-f", filepath.Join(d.folder, "other.yaml")); !strings.Contains(printed, "client extra") {
		t.Errorf("applied:\n%s", printed)
	}
	d.write("other.yaml", "tenants: [{ id: default, clients: [{ id: extra, auht: none }] }]\n")
	d.rejects([]string{"apply", "-f", filepath.Join(d.folder, "other.yaml")}, "the configuration has 1 fault", "tenants[0].clients[0].auht")
	d.write("other.yaml", "tenant: []\n")
	d.rejects([]string{"apply", "-f", filepath.Join(d.folder, "other.yaml")}, "tenant: ")
}

func TestSuspendRequiresAOneLineReason(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.allowApply()
	d.run("apply")
	d.rejects([]string{"suspend", "client", "web", "--reason", "x\n\x1b[31m"}, "--reason must be one line")
	if printed := d.run("suspend", "user", "\x1b[31m"); strings.Contains(printed, "\x1b") {
		t.Errorf("it prints control characters: %q", printed)
	}
}

func TestShellWordQuotesOneWord(t *testing.T) {
	for text, want := range map[string]string{
		"web": "web", "https://auth.example.com": "https://auth.example.com", "zoë": "zoë", "": "''",
		"a b": "'a b'", "it's": `'it'\''s'`, "$(id)": "'$(id)'", "e\x1b[31m'": `$'e\x1b[31m\''`, "x\ny": `$'x\ny'`,
	} {
		if got := shellWord(text); got != want {
			t.Errorf("%q is printed as %s, want %s", text, got, want)
		}
	}
}
