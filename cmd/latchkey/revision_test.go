package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

// Apply stores a mistyped revision, serve then ignores its file, and the command that
// the log suggests resets the revision.
func TestAMistypedRevisionIsReportedAndReset(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.edit("metrics_listen: none", "metrics_listen: none\nrevision: 7")
	d.started()
	other := filepath.Join(d.folder, "other.yaml")
	typo := func(revision string) {
		d.write("other.yaml", "revision: "+revision+"\ntenants: [{ id: default, clients: [{ id: extra, auth: none }] }]\n")
	}
	typo("9223372036854775807")
	d.rejects([]string{"apply", "-f", other}, "the configuration has 1 fault", "revision: must be a whole number between 1 and 9007199254740991")

	typo("9007199254740991")
	const difference = `~ file
    revision: 7 → 9007199254740991
    ! from now on "latchkey serve" does not apply a file whose revision is lower than 9007199254740991, or that has none
    ! no file can have a higher revision than this one
`
	for _, args := range [][]string{{"apply", "-f", other, "--dry-run"}, {"apply", "-f", other}} {
		if printed := d.run(args...); !strings.Contains(printed, difference) {
			t.Errorf("%v prints\n%s", args, printed)
		}
	}

	d.edit("revision: 7", "revision: 8", "refresh_grace: 60s", "refresh_grace: 30s")
	const ignored = `its revision is 8, and revision 9007199254740991 was applied last: no file can have a higher one, so run "latchkey apply --reset-revision" with this file`
	s := d.serve()
	if want := `"level":"WARN","msg":"did not apply the tenants of the configuration file; serving those in the database","reason":"` + strings.ReplaceAll(ignored, `"`, `\"`); !strings.Contains(s.err.String(), want) {
		t.Errorf("the log does not contain %s:\n%s", want, s.err.String())
	}
	wantFinding(t, d.examined(), isWarning, "file", ignored)

	for range 2 {
		if printed := d.run("apply", "--reset-revision", "--dry-run"); printed != "The stored revision is 9007199254740991 and would become 8. This was a dry run: nothing was changed.\n" {
			t.Errorf("a dry run prints %s", printed)
		}
	}
	if printed := d.run("apply", "--reset-revision"); !strings.HasPrefix(printed, "The stored revision was 9007199254740991 and is now 8. The next start of \"latchkey serve\" applies this file") {
		t.Errorf("the reset prints %s", printed)
	}
	if printed := d.run("apply", "--reset-revision"); !strings.HasPrefix(printed, "Nothing to reset: the stored revision is 8") {
		t.Errorf("the second reset prints %s", printed)
	}
	restarted := d.serve()
	if log := restarted.err.String(); strings.Contains(log, "are not applied") || !strings.Contains(log, "configuration applied") {
		t.Errorf("after the reset the log is\n%s", log)
	}
}

func TestResetRevisionIsRejectedWithoutEffect(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "sqlite:"+filepath.Join(t.TempDir(), "absent.db"))
	d.rejects([]string{"apply", "--reset-revision"}, "there is no database at ")
	for _, flag := range []string{"--replace", "--prune"} {
		d.rejects([]string{"apply", "--reset-revision", flag}, "--reset-revision cannot be combined with --replace or --prune")
	}
	d.allowApply()
	d.rejects([]string{"apply", "--reset-revision"}, "tenants_at_start is once")
	d.write("latchkey.yaml", d.text()+"colour: red\n")
	d.rejects([]string{"apply", "--reset-revision"}, "colour: unknown key")
}
