// Package internal holds the test that keeps the rooms of the design apart.
package internal

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/latchkey/latchkey"

// folders are the top-level folders of the design. A new one is a decision, to
// be taken there first.
var folders = []string{".ci", ".github", "bench", "cmd", "config", "docs", "examples", "handlers", "internal", "models", "oauth", "sdk", "session", "settings"}

// mayImport says which rooms, or single packages of a room, a room sees. Rooms that
// are not listed see none.
var mayImport = map[string][]string{
	"cmd":      {"config", "handlers", "internal", "models", "oauth", "sdk/go", "sdk/go/admin", "session", "settings"},
	"bench":    {"config", "handlers", "internal", "models", "oauth", "sdk", "session", "settings"},
	"examples": {"sdk"},
	"config":   {"session", "settings"},
	"handlers": {"models", "oauth", "session", "settings"},
	"oauth":    {"models", "session", "settings"},
	"models":   {"session", "settings"},
	"settings": {"session"},
	"internal": {"internal"},
}

// onlyIn names the one room of each framework, or the package of a room, by import
// path prefix.
var onlyIn = map[string]string{
	"github.com/gin-gonic/":     "handlers",
	"github.com/ory/":           "oauth",
	"github.com/coreos/":        "oauth",
	"github.com/google/cel-go/": "oauth/expr",
	"crypto/hkdf":               "oauth/keys",
	"gorm.io/":                  "models",
	"github.com/go-gormigrate/": "models",
	"github.com/glebarez/":      "models",
	"modernc.org/":              "models",
	"github.com/jackc/":         "models",
}

// strangers are the only third-party packages of the rooms, and of the packages in
// them, that have few.
var strangers = map[string][]string{
	"config":           nil,
	"session":          nil,
	"settings":         nil,
	"settings/decode":  {"go.yaml.in/yaml/v3"},
	"oauth/fetch":      nil,
	"handlers/console": {"github.com/gin-gonic/gin", "github.com/mileusna/useragent", "github.com/oschwald/maxminddb-golang/v2"},
	"models/tail":      nil,
}

// testOnly begins the name of every test harness: it may see what it tests, and
// no program may contain it.
const testOnly = "internal/test"

func TestRooms(t *testing.T) {
	faults, files, err := check(os.DirFS(".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
	if files == 0 {
		t.Error("no Go file was found: nothing was checked")
	}
}

// The rules above read imports; this is what the compiler puts into a release.
func TestTheReleaseContainsNoTestCode(t *testing.T) {
	packages := dependencies(t, "..")
	if !slices.Contains(packages, module+"/handlers") {
		t.Fatalf("the list of packages is not that of the server: %s", packages)
	}
	for _, p := range packages {
		if strings.HasPrefix(p, module+"/"+testOnly) {
			t.Errorf("cmd/latchkey contains %s", p)
		}
	}
}

// sdkMayImport lists, for each package of the Go SDK, the packages of the SDK
// that it may import. "" is the package of the folder sdk/go itself.
var sdkMayImport = map[string][]string{
	"":              {"internal/wire"},
	"admin":         {"", "internal/wire"},
	"resource":      {"", "internal/wire"},
	"events":        {"internal/wire"},
	"internal/wire": nil,
	"latchkeytest":  {"internal/wire", "resource"},
	"bff":           {"", "internal/wire"},
	"bff/sqlstore":  {"", "bff"},
	"bff/storetest": {"", "bff"},
}

func TestSDKPackagesImportOnlyWhatTheyMay(t *testing.T) {
	sdk, files := os.DirFS("../sdk/go"), 0
	err := fs.WalkDir(sdk, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if _, err := fs.Stat(sdk, path.Join(name, "go.mod")); name != "." && err == nil || entry.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files++
		text, err := fs.ReadFile(sdk, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		allowed, known := sdkMayImport[strings.TrimPrefix(path.Dir(name), ".")]
		if !known {
			t.Errorf("%s: its package is not in sdkMayImport", name)
		}
		for _, spec := range file.Imports {
			imported, ok := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module+"/sdk/go")
			if ok && !slices.Contains(allowed, strings.TrimPrefix(imported, "/")) {
				t.Errorf("%s may not import %s", name, spec.Path.Value)
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d files were checked: %v", files, err)
	}
}

func TestRoomsAreToldApart(t *testing.T) {
	for name, c := range map[string]struct{ file, imports, fault string }{
		"cmd sees every room":                      {"cmd/latchkey/main.go", module + "/handlers", ""},
		"handlers see oauth":                       {"handlers/a.go", module + "/oauth", ""},
		"handlers do not see config":               {"handlers/a.go", module + "/config", "handlers may not import config"},
		"oauth does not see handlers":              {"oauth/a.go", module + "/handlers", "oauth may not import handlers"},
		"models do not see oauth":                  {"models/a.go", module + "/oauth", "models may not import oauth"},
		"the loader sees its library":              {"settings/decode/a.go", "go.yaml.in/yaml/v3", ""},
		"settings themselves do not":               {"settings/a.go", "go.yaml.in/yaml/v3", "settings may not import go.yaml.in/yaml/v3"},
		"config sees no other library":             {"config/a.go", "github.com/spf13/cobra", "config may not import github.com/spf13/cobra"},
		"session sees the standard library":        {"session/a.go", "crypto/sha256", ""},
		"session sees no other library":            {"session/a.go", "golang.org/x/crypto/hkdf", "session may not import golang.org/x/crypto/hkdf"},
		"config does not see the database":         {"config/a.go", module + "/models", "config may not import models"},
		"settings see no database":                 {"settings/a.go", module + "/models", "settings may not import models"},
		"session sees no room":                     {"session/a.go", module + "/models", "session may not import models"},
		"a folder in a room is that room":          {"models/deep/er/a.go", module + "/oauth", "models may not import oauth"},
		"a room may be cut into packages":          {"oauth/a.go", module + "/oauth/keys", ""},
		"only handlers know gin":                   {"oauth/a.go", "github.com/gin-gonic/gin", "only handlers may import github.com/gin-gonic/gin"},
		"not even cmd knows gin":                   {"cmd/latchkey/main.go", "github.com/gin-gonic/gin", "only handlers may import github.com/gin-gonic/gin"},
		"handlers know gin":                        {"handlers/a.go", "github.com/gin-gonic/gin/binding", ""},
		"only oauth knows fosite":                  {"handlers/a.go", "github.com/ory/fosite", "only oauth may import github.com/ory/fosite"},
		"only oauth knows go-oidc":                 {"models/a.go", "github.com/coreos/go-oidc/v3/oidc", "only oauth may import github.com/coreos/go-oidc/v3/oidc"},
		"only one package knows CEL":               {"oauth/a.go", "github.com/google/cel-go/cel", "only oauth/expr may import github.com/google/cel-go/cel"},
		"that package knows CEL":                   {"oauth/expr/a.go", "github.com/google/cel-go/cel", ""},
		"only models know GORM":                    {"cmd/latchkey/main.go", "gorm.io/gorm", "only models may import gorm.io/gorm"},
		"only models know its drivers":             {"oauth/a.go", "github.com/jackc/pgx/v5", "only models may import github.com/jackc/pgx/v5"},
		"the test harness knows a driver":          {"internal/testdb/a.go", "github.com/jackc/pgx/v5", ""},
		"no program contains the test harness":     {"cmd/latchkey/main.go", module + "/internal/testdb", "only tests may import internal/testdb"},
		"no program contains the test server":      {"cmd/latchkey/serve.go", module + "/internal/testserver", "only tests may import internal/testserver"},
		"nor its control port":                     {"cmd/latchkey/serve.go", module + "/internal/testserver/cmd", "only tests may import internal/testserver/cmd"},
		"a test harness sees what it tests":        {"internal/testserver/a.go", module + "/handlers", ""},
		"the harness's own command contains it":    {"internal/testdb/withpostgres/main.go", module + "/internal/testdb", ""},
		"nothing else internal contains it":        {"internal/clock/a.go", module + "/internal/testdb", "only tests may import internal/testdb"},
		"tests may import what they need":          {"session/a_test.go", module + "/internal/testdb", ""},
		"internal sees no room":                    {"internal/clock/a.go", module + "/session", "internal may not import session"},
		"nobody sees the benchmarks":               {"cmd/latchkey/main.go", module + "/bench", "cmd may not import bench"},
		"a module of its own has rules of its own": {"sdk/go/a.go", "gorm.io/gorm", ""},
		"an example is what a user could write":    {"examples/app/main.go", module + "/oauth", "examples may not import oauth"},
		"an example sees the SDK":                  {"examples/app/main.go", module + "/sdk/go", ""},
		"the server does not see the SDK":          {"handlers/a.go", module + "/sdk/go", "handlers may not import sdk"},
		"a command calls the admin API":            {"cmd/latchkey/a.go", module + "/sdk/go/admin", ""},
		"and sees nothing else of the SDK":         {"cmd/latchkey/a.go", module + "/sdk/go/resource", "cmd may not import sdk"},
		"a new folder is noticed":                  {"utils/a.go", "fmt", "utils is not a folder of the design"},
		"a new hidden folder is noticed":           {".circleci/a.yml", "", ".circleci is not a folder of the design"},
		"workflows have a folder":                  {".github/workflows/a.yml", "", ""},
		"a folder that git ignores is not one":     {"bin/latchkey", "", ""},
		"no package is at the top":                 {"a.go", "fmt", "a Go file outside every room"},
		"what is for another system counts":        {"models/a_windows.go", module + "/oauth", "models may not import oauth"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{
				".gitignore":     {Data: []byte("/bin/\n*.db\n")},
				"sdk/go/go.mod":  {Data: []byte("module example.com/sdk\n")},
				".git/config":    {},
				"docs/go/app.md": {},
				c.file:           {Data: fmt.Appendf(nil, "package a\nimport _ %q\n", c.imports)},
			}
			faults, _, err := check(tree)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.fault == "" && len(faults) > 0:
				t.Errorf("found %q", faults)
			case c.fault != "" && (len(faults) != 1 || !strings.Contains(faults[0], c.fault)):
				t.Errorf("found %q, want %q", faults, c.fault)
			}
		})
	}
}

// check reads the imports of every Go file of the module, for whatever system
// it is, and returns what breaks a rule. Modules within the module are left
// out: the compiler keeps them apart.
func check(tree fs.FS) (faults []string, files int, err error) {
	ignored, err := ignoredFolders(tree)
	if err != nil {
		return nil, 0, err
	}
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		top := !strings.Contains(name, "/")
		if entry.IsDir() {
			if top && slices.Contains(ignored, name) {
				return fs.SkipDir
			}
			if top && !slices.Contains(folders, name) {
				faults = append(faults, name+" is not a folder of the design, nor one that .gitignore names")
				return fs.SkipDir
			}
			if _, err := fs.Stat(tree, path.Join(name, "go.mod")); err == nil || entry.Name() == "testdata" || entry.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files++
		if top {
			faults = append(faults, name+": a Go file outside every room")
			return nil
		}
		found, err := checkFile(tree, name)
		faults = append(faults, found...)
		return err
	})
	return faults, files, err
}

// ignoredFolders are the top-level folders that git does not keep.
func ignoredFolders(tree fs.FS) ([]string, error) {
	text, err := fs.ReadFile(tree, ".gitignore")
	if err != nil {
		return nil, err
	}
	ignored := []string{".git"}
	for line := range strings.Lines(string(text)) {
		if name, isFolder := strings.CutSuffix(strings.TrimSpace(line), "/"); isFolder {
			ignored = append(ignored, strings.TrimPrefix(name, "/"))
		}
	}
	return ignored, nil
}

func checkFile(tree fs.FS, name string) (faults []string, err error) {
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if fault := checkImport(name, imported); fault != "" {
			faults = append(faults, name+": "+fault)
		}
	}
	return faults, nil
}

// checkImport says what is wrong with an import in a file, if anything is.
func checkImport(file, imported string) string {
	room, _, _ := strings.Cut(file, "/")
	harness := strings.HasPrefix(file, testOnly)
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		other, _, _ := strings.Cut(ours, "/")
		switch {
		case harness:
		case strings.HasPrefix(ours, testOnly):
			return "only tests may import " + ours
		case other != room && !slices.Contains(mayImport[room], other) && !slices.Contains(mayImport[room], ours):
			return room + " may not import " + other
		}
		return ""
	}
	for prefix, owner := range onlyIn {
		if strings.HasPrefix(imported, prefix) && room != owner && path.Dir(file) != owner && !harness {
			return "only " + owner + " may import " + imported
		}
	}
	if _, own := strangers[path.Dir(file)]; own {
		room = path.Dir(file)
	}
	allowed, listed := strangers[room]
	if listed && !standard(imported) && !slices.Contains(allowed, imported) {
		return room + " may not import " + imported
	}
	return ""
}

// standard packages have no dot in their first element.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}
