package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestApplyTakesAFileOfTenantsOnly(t *testing.T) {
	d := newDeployment(t, testdb.SQLite(t))
	d.shared()
	d.write("other.yaml", "tenants: [{ id: default, clients: [{ id: extra, auth: none, grants: [token-exchange] }] }]\n")
	if said := d.run("apply", "-f", filepath.Join(d.folder, "other.yaml")); !strings.Contains(said, "client extra") {
		t.Errorf("applied:\n%s", said)
	}
	d.write("other.yaml", "tenants: [{ id: default, clients: [{ id: extra, auht: none }] }]\n")
	d.refuses([]string{"apply", "-f", filepath.Join(d.folder, "other.yaml")}, "the configuration has 1 fault", "tenants[0].clients[0].auht")
	d.write("other.yaml", "tenant: []\n")
	d.refuses([]string{"apply", "-f", filepath.Join(d.folder, "other.yaml")}, "tenant: ")
}

func TestSuspendRequiresAOneLineReason(t *testing.T) {
	d := newDeployment(t, testdb.SQLite(t))
	d.shared()
	d.run("apply")
	d.refuses([]string{"suspend", "client", "web", "--reason", "x\n\x1b[31m"}, "--reason must be one line")
	if said := d.run("suspend", "user", "\x1b[31m"); strings.Contains(said, "\x1b") {
		t.Errorf("it prints control characters: %q", said)
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
