package internal_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// A release has binaries for systems on which no test runs. Compiling for them takes
// minutes. Names that the files of a system use and do not declare show at once.
func TestEveryPlatformDeclaresTheNamesThatItUses(t *testing.T) {
	err := filepath.WalkDir("..", func(folder string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); name == "testdata" || name == "node_modules" || name != ".." && strings.HasPrefix(name, ".") {
			return fs.SkipDir
		}
		for _, system := range []string{"linux", "darwin", "windows"} {
			on := build.Default
			on.GOOS, on.CgoEnabled = system, false
			pkg, err := on.ImportDir(folder, 0)
			if err != nil {
				continue // no files for this system
			}
			for _, name := range undeclared(t, folder, pkg.GoFiles) {
				t.Errorf("%s on %s: undefined: %s", folder, system, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// undeclared returns the names that the files of a package use, and that neither they nor
// the language declare. It cannot know the names of imported packages, so it leaves out
// names before a dot.
func undeclared(t *testing.T, folder string, names []string) (list []string) {
	t.Helper()
	declared, qualifiers := map[string]bool{}, map[token.Pos]bool{}
	var used []*ast.Ident
	positions := token.NewFileSet()
	for _, name := range names {
		file, err := parser.ParseFile(positions, filepath.Join(folder, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for name := range file.Scope.Objects {
			declared[name] = true
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if selector, is := n.(*ast.SelectorExpr); is {
				qualifiers[selector.X.Pos()] = true
			}
			return true
		})
		used = append(used, file.Unresolved...)
	}
	for _, name := range used {
		if !declared[name.Name] && !qualifiers[name.Pos()] && types.Universe.Lookup(name.Name) == nil {
			list = append(list, name.Name)
		}
	}
	return list
}
