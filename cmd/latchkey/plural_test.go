package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestPluralUsesTheSingularForOne(t *testing.T) {
	for n, want := range map[int]string{0: "0 faults", 1: "1 fault", 2: "2 faults", 11: "11 faults"} {
		if got := plural(n, "fault"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// No text of a command or log uses a form such as "session(s)".
func TestNoTextUsesAPluralInParentheses(t *testing.T) {
	either := regexp.MustCompile(`[a-z]\((e?s)\)`)
	files := 0
	for _, room := range []string{"cmd", "config", "handlers", "models", "oauth", "session"} {
		err := filepath.WalkDir(filepath.Join("..", "..", room), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(node ast.Node) bool {
				if text, is := node.(*ast.BasicLit); is && text.Kind == token.STRING && either.MatchString(text.Value) {
					t.Errorf("%s: %s", set.Position(text.Pos()), text.Value)
				}
				return true
			})
			return nil
		})
		must(t, err)
	}
	if files < 100 {
		t.Errorf("only %d files were looked at", files)
	}
}
