package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/config"
)

func TestAFileIsExposedIfOtherUsersCanReachIt(t *testing.T) {
	folder, err := os.MkdirTemp("/tmp", "latchkey-exposed") // which other users can enter
	must(t, err)
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "secret")
	must(t, os.WriteFile(file, []byte("x"), 0o600))
	for _, c := range []struct {
		folder, file os.FileMode
		want         string
	}{
		{0o755, 0o600, ""}, {0o755, 0o640, ""}, {0o755, 0o644, "read"}, {0o755, 0o666, "change"}, {0o755, 0o602, "change"},
		{0o700, 0o644, ""}, {0o750, 0o666, ""}, {0o711, 0o644, "read"},
	} {
		must(t, os.Chmod(folder, c.folder))
		must(t, os.Chmod(file, c.file))
		if got := exposure(file); got != c.want {
			t.Errorf("%o in %o: others can %q, want %q", c.file, c.folder, got, c.want)
		}
	}
	if got := exposure(filepath.Join(folder, "nowhere")); got != "" {
		t.Errorf("a missing file: %q", got)
	}
}

func TestStartWarnsAboutExposedFiles(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "postgres://nobody@192.0.2.1/latchkey?sslmode=require")
	d.expose("root-secret", 0o644)
	d.expose("backend-secret", 0o666)
	c, err := (&sharedFlags{path: d.file}).load(config.ForServe)
	must(t, err)
	var lines strings.Builder
	log := slog.New(slog.NewTextHandler(&lines, nil))
	warnAboutFiles(c, log)
	warnAboutNetwork(c, log)
	for _, want := range []string{"can read", "root-secret", "setting=secret_file", "can change", "backend-secret", "sslmode=verify-full"} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("the log does not contain %q:\n%s", want, lines.String())
		}
	}
	if strings.Contains(lines.String(), "192.0.2.1") {
		t.Errorf("the log names the host of the database:\n%s", lines.String())
	}
}
