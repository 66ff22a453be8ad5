package internal

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Dockerfile builds the server from what .dockerignore leaves. A package that it leaves
// out is missed only by docker build, which no test runs.
func TestTheImageIsBuiltFromAllPackagesOfTheServer(t *testing.T) {
	text, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	rules, tree, folder := strings.Fields(withoutComments(string(text))), os.DirFS(".."), t.TempDir()
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == "node_modules" || entry.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		if ignored(rules, name) || !entry.Type().IsRegular() {
			return nil
		}
		content, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		copied := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(copied), 0o700); err != nil {
			return err
		}
		return os.WriteFile(copied, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "README.md")); err == nil {
		t.Error(".dockerignore leaves files that do not belong to the server")
	}
	want := dependencies(t, "..")
	if got := dependencies(t, folder); !slices.Equal(got, want) {
		t.Errorf("the image is built from\n%s\nand the server from\n%s", got, want)
	}
}

// dependencies lists the packages of which the command in a folder consists. It fails if a
// package, or a file that one embeds, is missing.
func dependencies(t *testing.T, folder string) []string {
	t.Helper()
	command := exec.Command("go", "list", "-deps", "./cmd/latchkey")
	command.Dir = folder
	var faults strings.Builder
	command.Stderr = &faults
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, faults.String())
	}
	return strings.Fields(string(out))
}

func withoutComments(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "#") }), "\n")
}

// ignored reports whether .dockerignore leaves a file out: the last rule that matches the
// file or a folder of it decides.
func ignored(rules []string, name string) (out bool) {
	for _, rule := range rules {
		rule, keep := strings.CutPrefix(rule, "!")
		pattern, anywhere := strings.CutPrefix(rule, "**/")
		for part := name; part != "."; part = path.Dir(part) {
			subject := part
			if anywhere {
				subject = path.Base(part)
			}
			if match, err := path.Match(pattern, subject); err == nil && match {
				out = !keep
			}
		}
	}
	return out
}
