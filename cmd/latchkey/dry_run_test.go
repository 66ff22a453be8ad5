package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestADryRunLeavesNoTraceWithoutADatabase(t *testing.T) {
	t.Parallel()
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
		t.Errorf("it creates %d tables", n)
	}
}

func TestADryRunReadsAnExistingDatabase(t *testing.T) {
	t.Parallel()
	one, other := filepath.Join(t.TempDir(), "one.db"), filepath.Join(t.TempDir(), "other.db")
	for _, url := range []string{"sqlite:" + one, "sqlite://" + other, testdb.Postgres(t)} {
		d := newDeployment(t, url)
		d.run("apply")
		if printed := d.run("apply", "--dry-run"); printed != "No changes.\n" {
			t.Errorf("%s:\n%s", url, printed)
		}
	}
}

func TestADryRunDoesNotMigrate(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newDeployment(t, url)
	d.run("apply")
	statement(t, url, "DELETE FROM migrations WHERE id <> '0001_init'") // as an earlier release left it
	d.rejects([]string{"apply", "--dry-run"}, "the database schema is older than this release: run `latchkey migrate`")
	if n := count(t, url, "SELECT count(*) FROM migrations"); n != 1 {
		t.Errorf("it has %d migrations", n)
	}
}

// serve owns the contents of its file, so apply rejects it. A dry run prints what serve
// will do with it.
func TestADryRunOfTheServeFilePrintsTheChangesOfTheNextStart(t *testing.T) {
	t.Parallel()
	const preface = "\"latchkey serve\" owns the contents of this file. Its next start with this file makes these changes:\n"
	for name, url := range map[string]string{"sqlite": testdb.SQLite(t), "postgres": testdb.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			d := newDeployment(t, url)
			d.edit("metrics_listen: none", "metrics_listen: none\nrevision: 3")
			d.started()
			if printed := d.run("apply", "--dry-run"); printed != preface+"No changes.\n" {
				t.Errorf("of the file as it was applied:\n%s", printed)
			}
			d.edit("revision: 3", "revision: 4", "        refresh_grace: 60s\n", "", "      - id: backend\n        auth: secret\n        secret_file: backend-secret\n        grants: [client-credentials]\n        introspect: all\n", "")
			want := preface + "~ client backend of tenant default: no longer owned, because the file does not name it; \"latchkey apply\" can change it after that start\n" +
				"~ default/client web\n    refresh_grace: \"1m\" → (default)\n1 change planned. This was a dry run: nothing was changed.\n"
			link := filepath.Join(t.TempDir(), "link.yaml")
			must(t, os.Symlink(d.file, link))
			for _, args := range [][]string{{"apply", "--dry-run"}, {"apply", "--dry-run", "-f", d.file}, {"apply", "--dry-run", "--replace"}, {"apply", "--dry-run", "-f", link}} {
				if printed := d.run(args...); printed != want {
					t.Errorf("%v prints\n%s\nwant\n%s", args, printed, want)
				}
			}
			wantFinding(t, d.examined(), isWarning, "file", "the next start makes 1 change", "latchkey apply --dry-run --replace")
			d.rejects([]string{"apply"}, `is managed by the file of "latchkey serve"`)
			d.rejects([]string{"apply", "--dry-run", "--prune"}, `is managed by the file of "latchkey serve"`)
			d.write("copy.yaml", d.text())
			d.rejects([]string{"apply", "--dry-run", "-f", filepath.Join(d.folder, "copy.yaml")}, `is managed by the file of "latchkey serve"`)

			d.edit("signing_algorithm: ES256", "signing_algorithm: ES255", "metrics_listen: none", "metrics_listen: none\ncolour: red")
			code, _, stderr := run(t, nil, "apply", "--dry-run", "--config", d.file)
			if code != 1 || strings.Contains(stderr, "is managed by") || !strings.Contains(stderr, "tenants[0].signing_algorithm") || !strings.Contains(stderr, "colour") {
				t.Errorf("with faults: exit code %d\n%s", code, stderr)
			}
			d.edit("signing_algorithm: ES255", "signing_algorithm: ES256", "metrics_listen: none\ncolour: red", "metrics_listen: none", "revision: 4", "revision: 2")
			if printed := d.run("apply", "--dry-run"); !strings.HasPrefix(printed, "\"latchkey serve\" owns the contents of this file. Its next start does not apply the file: its revision is 2, and revision 3 was applied last") {
				t.Errorf("of an older file:\n%s", printed)
			}
			d.edit("revision: 2", "revision: 4")
			d.started()
			if printed := d.run("apply", "--dry-run"); printed != preface+"No changes.\n" {
				t.Errorf("after the start:\n%s", printed)
			}
		})
	}
}
