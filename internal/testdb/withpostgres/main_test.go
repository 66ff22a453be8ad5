package main

import (
	"os"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv(testdb.EnvURL, testdb.EmptyPostgres(t))
	for name, c := range map[string]struct {
		script string
		want   int
	}{
		"exits as a command that succeeds":       {"exit 0", 0},
		"exits as a command that fails":          {"exit 7", 7},
		"exits as a shell would after a signal":  {"kill -9 $$", 137},
		"leaves a TMPDIR that is given as it is": {`test "$TMPDIR" = "` + os.TempDir() + `"`, 0},
		"leaves a URL that is given as it is":    {`test "$LATCHKEY_TEST_DATABASE_URL" = "$0"`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := run("sh", []string{"-c", c.script, os.Getenv(testdb.EnvURL)}); got != c.want || err != nil {
				t.Errorf("status %d, %v; want %d", got, err, c.want)
			}
		})
	}
	t.Run("says when there is no such command", func(t *testing.T) {
		if _, err := run("no-such-command", nil); err == nil {
			t.Error("no error")
		}
	})
}

func TestRunStartsAPostgreSQLForTheCommand(t *testing.T) {
	t.Setenv(testdb.EnvURL, "")
	t.Setenv("TMPDIR", "")
	t.Setenv("GOTMPDIR", "")
	status, err := run("sh", []string{"-c", `case $LATCHKEY_TEST_DATABASE_URL in postgres://*) ;; *) exit 1 ;; esac`})
	if status != 0 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
}
