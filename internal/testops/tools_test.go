package testops

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// program finds a program that .ci/setup installs, even if Debian installs it outside
// PATH.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := exec.LookPath(filepath.Join("/usr/sbin", name))
	if err != nil {
		t.Fatalf("there is no %s: run `.ci/setup ops` as root", name)
	}
	return path
}

func TestEveryProgramIsInstalled(t *testing.T) {
	for _, name := range []string{"nginx", "haproxy", "caddy", "pgbouncer"} {
		t.Run(name, func(t *testing.T) { program(t, name) })
	}
}
