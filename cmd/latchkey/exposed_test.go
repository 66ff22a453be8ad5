package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsExposedIfOthersReachIt(t *testing.T) {
	folder, err := os.MkdirTemp("/tmp", "latchkey-exposed") // where others may go
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
			t.Errorf("%o in %o: others may %q, want %q", c.file, c.folder, got, c.want)
		}
	}
	if got := exposure(filepath.Join(folder, "nowhere")); got != "" {
		t.Errorf("what is not there: %q", got)
	}
}
