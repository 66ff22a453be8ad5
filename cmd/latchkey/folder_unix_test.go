//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDevRejectsTheFolderOfAnotherUser(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(folder, 0o700))
	for mode, want := range map[os.FileMode]string{0o700: "", 0o755: "", 0o777: "other users can write", 0o770: "", 0o772: "other users can write"} {
		must(t, os.Chmod(folder, mode))
		if err := ownFolder(folder); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	other := "/" // root's
	if os.Geteuid() == 0 {
		other = folder
		must(t, os.Chmod(folder, 0o700))
		must(t, os.Chown(folder, 65534, -1))
	}
	code, stdout, stderr := run(t, nil, "dev", "--data", other, "--listen", "127.0.0.1:1")
	if code != 1 || !strings.Contains(stderr, "belongs to another user") || strings.Contains(stdout, "root-secret") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(other, "root-secret")); err == nil {
		t.Error("it created a root secret there")
	}
}
