package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestADryRunLeavesNoTraceWhereThereIsNothingYet(t *testing.T) {
	postgres := testdb.EmptyPostgres(t)
	for name, url := range map[string]string{"sqlite": "sqlite:latchkey.db", "sqlite with slashes": "sqlite://latchkey.db", "postgres": postgres} {
		t.Run(name, func(t *testing.T) {
			d := newDeployment(t, url)
			temporary := t.TempDir()
			p := start(t, []string{"TMPDIR=" + temporary}, "apply", "--dry-run", "--config", d.file)
			if code := p.wait(); code != 0 || !strings.HasPrefix(p.out.String(), "+ tenant default\n") {
				t.Errorf("exit code %d\n%s%s", code, p.out.String(), p.err.String())
			}
			if left := listing(t, p.cmd.Dir) + listing(t, temporary); left != "" {
				t.Errorf("it leaves\n%s", left)
			}
		})
	}
	if n := count(t, postgres, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 0 {
		t.Errorf("it makes %d tables", n)
	}
}

func TestADryRunLooksAtTheDatabaseThatIsThere(t *testing.T) {
	one, other := filepath.Join(t.TempDir(), "one.db"), filepath.Join(t.TempDir(), "other.db")
	for _, url := range []string{"sqlite:" + one, "sqlite://" + other, testdb.Postgres(t)} {
		d := newDeployment(t, url)
		d.run("apply")
		if said := d.run("apply", "--dry-run"); said != "Nothing to change.\n" {
			t.Errorf("%s:\n%s", url, said)
		}
	}
}

func TestADryRunDoesNotMigrate(t *testing.T) {
	url := testdb.Postgres(t)
	d := newDeployment(t, url)
	d.run("apply")
	statement(t, url, "DELETE FROM migrations WHERE id <> '0001_init'") // as an earlier release left it
	d.refuses([]string{"apply", "--dry-run"}, "the database schema is not current: run `latchkey migrate`")
	if n := count(t, url, "SELECT count(*) FROM migrations"); n != 1 {
		t.Errorf("it has %d migrations", n)
	}
}
