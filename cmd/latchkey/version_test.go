package main

import (
	"encoding/json"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

func TestVersionPrintsTheBuildAndTheDatabase(t *testing.T) {
	t.Parallel()
	code, out, stderr := run(t, nil, "version")
	for _, want := range []string{"version", "go       " + runtime.Version(), "PostgreSQL 13", "schema   " + models.NewestMigration()} {
		if !strings.Contains(out, want) {
			t.Errorf("exit code %d, no %q in\n%s%s", code, want, out, stderr)
		}
	}
	if strings.Contains(out, "database") {
		t.Errorf("without a configuration it names a database:\n%s", out)
	}
	absent := filepath.Join(t.TempDir(), "absent.db")
	for url, want := range map[string]string{
		testdb.SQLite(t):                   "current schema",
		testdb.EmptyPostgres(t):            "empty",
		"sqlite:" + absent:                 "does not exist yet",
		"postgres://nobody@127.0.0.1:1/no": "cannot be opened",
	} {
		code, out, stderr := run(t, []string{"LATCHKEY_DATABASE_URL=" + url}, "version", "--json")
		var v versions
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v.Schema != models.NewestMigration() || !strings.Contains(v.Database, want) {
			t.Errorf("%s: exit code %d, want %q: %s%s", url, code, want, out, stderr)
		}
	}
}

func TestTheVersionComesFromTheLinkerOrTheGoTools(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc123"}, {Key: "vcs.modified", Value: "true"}}}
	if b := buildOf(info); b.String() != "(devel) abc123 (modified) go1.26.0" {
		t.Errorf("from the Go tools: %s", b)
	}
	release, commit = "v1.2.3", "def456"
	t.Cleanup(func() { release, commit = "", "" })
	if b := thisBuild(); b.Version != "v1.2.3" || b.Commit != "def456" || b.Go != runtime.Version() {
		t.Errorf("from the linker: %+v", b)
	}
}
