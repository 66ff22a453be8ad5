package internal

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// conformanceTable is the document that pairs requirements with tests.
const conformanceTable = "docs/conformance.md"

// conformanceLines is how many requirements (R-) and negative tests (N-) each
// section of the document has.
var conformanceLines = []struct {
	section              string
	requirements, faults int
}{
	{"TE", 21, 6}, {"CA", 9, 5}, {"EX", 25, 6}, {"RF", 15, 6},
	{"RV", 10, 6}, {"IN", 11, 6}, {"IJ", 6, 3}, {"AT", 11, 4},
	{"JK", 18, 6}, {"MD", 16, 4}, {"CO", 7, 3}, {"BP", 10, 3},
	{"RS", 10, 4}, {"PR", 5, 3}, {"SU", 10, 0}, {"SE", 15, 0}, {"CK", 7, 0}, {"SL", 17, 0}, {"UI", 3, 0}, {"SS", 11, 0}, {"BL", 8, 0},
}

// sessionManagement lists the lines of OWASP ASVS 5.0, chapter 7.
var sessionManagement = strings.Fields(`V7.1.1 V7.1.2 V7.1.3 V7.2.1 V7.2.2 V7.2.3 V7.2.4 V7.3.1 V7.3.2
	V7.4.1 V7.4.2 V7.4.3 V7.4.4 V7.4.5 V7.5.1 V7.5.2 V7.5.3 V7.6.1 V7.6.2`)

// apps lists the lines of OWASP ASVS 5.0 that are about apps, section V10.1.
var apps = []string{"V10.1.1", "V10.1.2"}

func TestConformance(t *testing.T) {
	faults, rows, err := checkConformance(os.DirFS(".."), expectedLines())
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
	if rows == 0 {
		t.Error("the document has no rows: nothing was checked")
	}
}

func TestConformanceFaultsAreNamed(t *testing.T) {
	const head = "# Wire conformance\n\n| Line | Requires | Tests |\n|---|---|---|\n"
	for name, c := range map[string]struct{ row, fault string }{
		"a test":                                  {"| R-XX-01 | a | `oauth.TestA` |", ""},
		"two tests":                               {"| R-XX-01 | a | `oauth.TestA`, `oauth.TestB` |", ""},
		"a case":                                  {"| R-XX-01 | a | `oauth.TestA/refuses a/b.c` |", ""},
		"a case between backquotes":               {"| R-XX-01 | a | `oauth.TestA/takes \"x\"` |", ""},
		"a package further down":                  {"| R-XX-01 | a | `cmd/latchkey.TestC` |", ""},
		"a fuzz test":                             {"| R-XX-01 | a | `oauth.FuzzA` |", ""},
		"what comes later":                        {"| R-XX-01 | a | later: `x` is not built |", ""},
		"what is not met":                         {"| R-XX-01 | a | not met on purpose: nobody needs it |", ""},
		"a test and what comes later":             {"| R-XX-01 | a | `oauth.TestA`; later: the rest |", ""},
		"no row":                                  {"", "R-XX-01 is missing"},
		"a line that is not expected":             {"| R-XX-01 | a | `oauth.TestA` |\n| R-XX-02 | a | `oauth.TestA` |", "R-XX-02 is not a line"},
		"a line twice":                            {"| R-XX-01 | a | `oauth.TestA` |\n| R-XX-01 | a | `oauth.TestA` |", "R-XX-01 occurs twice"},
		"an id without its zero":                  {"| R-XX-01 | a | `oauth.TestA` |\n| R-XX-1 | a | `oauth.TestA` |", "R-XX-1 is not a line"},
		"neither test nor reason":                 {"| R-XX-01 | a | |", "R-XX-01 has neither a test nor a reason"},
		"a reason that says nothing":              {"| R-XX-01 | a | later: |", "R-XX-01 has neither a test nor a reason"},
		"something else than a test":              {"| R-XX-01 | a | by hand |", `R-XX-01: "by hand" is neither a test nor a reason`},
		"something else beside a test":            {"| R-XX-01 | a | `oauth.TestA` by hand |", "R-XX-01: \"`oauth.TestA` by hand\" is neither a test nor a reason"},
		"a test without its package":              {"| R-XX-01 | a | `TestA` |", "is neither a test nor a reason"},
		"a test that does not exist":              {"| R-XX-01 | a | `oauth.TestZ` |", "R-XX-01: oauth has no TestZ"},
		"a test of another package":               {"| R-XX-01 | a | `oauth.TestC` |", "R-XX-01: oauth has no TestC"},
		"a function that only looks like a test":  {"| R-XX-01 | a | `oauth.TestOf` |", "R-XX-01: oauth has no TestOf"},
		"a method":                                {"| R-XX-01 | a | `oauth.TestMethod` |", "R-XX-01: oauth has no TestMethod"},
		"a package that does not exist":           {"| R-XX-01 | a | `other.TestA` |", "R-XX-01: other has no TestA"},
		"a case that does not exist":              {"| R-XX-01 | a | `oauth.TestA/takes z` |", `R-XX-01: oauth.TestA has no case "takes z"`},
		"a case of another file":                  {"| R-XX-01 | a | `oauth.TestA/elsewhere` |", `R-XX-01: oauth.TestA has no case "elsewhere"`},
		"a case that only a comment has":          {"| R-XX-01 | a | `oauth.TestA/a comment` |", `R-XX-01: oauth.TestA has no case "a comment"`},
		"a test that is no test file's":           {"| R-XX-01 | a | `oauth.TestLive` |", "R-XX-01: oauth has no TestLive"},
		"a row without a cell":                    {"| R-XX-01 | `oauth.TestA` |", "R-XX-01: a row has three cells"},
		"a row that says nothing of the line":     {"| R-XX-01 | | `oauth.TestA` |", "R-XX-01 does not say what it requires"},
		"a row in a sentence of more than twelve": {"| R-XX-01 | one two three four five six seven eight nine ten eleven twelve thirteen | `oauth.TestA` |", "R-XX-01 requires more than can be read at a glance"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{
				conformanceTable:              {Data: []byte(head + c.row + "\n")},
				"oauth/a.go":                  {Data: []byte("package oauth\nfunc TestLive(t *testing.T) {}\n")},
				"oauth/a_test.go":             {Data: []byte("package oauth\n// a comment\nfunc TestA(t *testing.T) { run(\"refuses a/b.c\", `takes \"x\"`) }\nfunc TestB(t *testing.T) {}\nfunc FuzzA(f *testing.F) {}\nfunc TestOf(s string) {}\nfunc (x X) TestMethod(t *testing.T) {}\n")},
				"oauth/b_test.go":             {Data: []byte("package oauth\nvar x = \"elsewhere\"\n")},
				"cmd/latchkey/main_test.go":   {Data: []byte("package main\nfunc TestC(t *testing.T) {}\n")},
				"sdk/go/testdata/bad_test.go": {Data: []byte("not Go")},
			}
			faults, _, err := checkConformance(tree, []string{"R-XX-01"})
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

// TestAttacksAreTested holds every row of docs/attacks.md to tests that exist.
func TestAttacksAreTested(t *testing.T) {
	text, err := os.ReadFile("../docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := &testSources{tree: os.DirFS(".."), packages: map[string]map[string]*ast.File{}}
	rows := 0
	for row := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
		if !strings.HasPrefix(row, "| ") || strings.HasPrefix(row, "| Attack |") {
			continue
		}
		rows++
		if len(cells) != 3 {
			t.Errorf("a row has three cells: %s", row)
			continue
		}
		wrong, err := tests.check(strings.TrimSpace(cells[2]))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range wrong {
			t.Errorf("%s%s", strings.TrimSpace(cells[0]), w)
		}
	}
	if rows < 50 {
		t.Errorf("%d rows were read", rows)
	}
}

// expectedLines lists the ids of the document: R-TE-01 …, N-TE-1 …, V7.1.1 ….
func expectedLines() (ids []string) {
	for _, s := range conformanceLines {
		for i := range s.requirements {
			ids = append(ids, fmt.Sprintf("R-%s-%02d", s.section, i+1))
		}
		for i := range s.faults {
			ids = append(ids, fmt.Sprintf("N-%s-%d", s.section, i+1))
		}
	}
	return append(append(ids, sessionManagement...), apps...)
}

var (
	conformanceRow = regexp.MustCompile(`^\|\s*([RN]-[A-Z]+-\d+|V\d+(?:\.\d+)+)\s*\|`)
	citedTest      = regexp.MustCompile("^`([a-z/]+)\\.((?:Test|Fuzz)\\w+)(?:/([^`]+))?`$")
	citations      = regexp.MustCompile("^(`[^`]*`(?:, `[^`]*`)*)?(?:; )?((?:later|not met on purpose): .+)?$")
)

// checkConformance reads the document's rows and says what is wrong with them.
func checkConformance(tree fs.FS, expected []string) (faults []string, rows int, err error) {
	text, err := fs.ReadFile(tree, conformanceTable)
	if err != nil {
		return nil, 0, err
	}
	fault := func(format string, args ...any) {
		faults = append(faults, conformanceTable+": "+fmt.Sprintf(format, args...))
	}
	tests := &testSources{tree: tree, packages: map[string]map[string]*ast.File{}}
	var seen []string
	for row := range strings.Lines(string(text)) {
		match := conformanceRow.FindStringSubmatch(row)
		if match == nil {
			continue
		}
		rows++
		id := match[1]
		switch {
		case slices.Contains(seen, id):
			fault("%s occurs twice", id)
			continue
		case !slices.Contains(expected, id):
			fault("%s is not a line of any section", id)
			continue
		}
		seen = append(seen, id)
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
		if len(cells) != 3 {
			fault("%s: a row has three cells", id)
			continue
		}
		switch words := len(strings.Fields(cells[1])); {
		case words == 0:
			fault("%s does not say what it requires", id)
		case words > 12:
			fault("%s requires more than can be read at a glance", id)
		}
		wrong, err := tests.check(strings.TrimSpace(cells[2]))
		if err != nil {
			return nil, rows, err
		}
		for _, w := range wrong {
			fault("%s%s", id, w)
		}
	}
	for _, id := range expected {
		if !slices.Contains(seen, id) {
			fault("%s is missing", id)
		}
	}
	return faults, rows, nil
}

// testSources holds the parsed test files of packages, by folder, and in each
// the file of every test.
type testSources struct {
	tree     fs.FS
	packages map[string]map[string]*ast.File
}

// check says what is wrong with the last cell of a row: tests, or a reason why
// there are none, or both.
func (s *testSources) check(cell string) (faults []string, err error) {
	match := citations.FindStringSubmatch(cell)
	switch {
	case match != nil && match[1] == "" && match[2] == "", cell == "later:", cell == "not met on purpose:":
		return []string{" has neither a test nor a reason"}, nil
	case match == nil:
		return []string{fmt.Sprintf(": %q is neither a test nor a reason", cell)}, nil
	case match[1] == "":
		return nil, nil
	}
	for _, cited := range strings.Split(match[1], "`, `") {
		cited = "`" + strings.Trim(cited, "`") + "`"
		parts := citedTest.FindStringSubmatch(cited)
		if parts == nil {
			faults = append(faults, fmt.Sprintf(": %s is neither a test nor a reason", cited))
			continue
		}
		folder, name, row := parts[1], parts[2], parts[3]
		files, err := s.of(folder)
		if err != nil {
			return nil, err
		}
		switch file := files[name]; {
		case file == nil:
			faults = append(faults, fmt.Sprintf(": %s has no %s", folder, name))
		case row != "" && !holdsString(file, row):
			faults = append(faults, fmt.Sprintf(": %s.%s has no case %q", folder, name, row))
		}
	}
	return faults, nil
}

// of maps the tests of a folder to their files. A folder that does not exist
// has none.
func (s *testSources) of(folder string) (map[string]*ast.File, error) {
	if tests, ok := s.packages[folder]; ok {
		return tests, nil
	}
	tests := map[string]*ast.File{}
	names, err := fs.Glob(s.tree, path.Join(folder, "*_test.go"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(s.tree, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && isTest(f) {
				tests[f.Name.Name] = file
			}
		}
	}
	s.packages[folder] = tests
	return tests, nil
}

// isTest tells a test by its one parameter, *testing.T or *testing.F.
func isTest(f *ast.FuncDecl) bool {
	if f.Recv != nil || f.Type.Params.NumFields() != 1 {
		return false
	}
	pointer, ok := f.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	of, ok := pointer.X.(*ast.SelectorExpr)
	return ok && (of.Sel.Name == "T" || of.Sel.Name == "F")
}

// holdsString says whether a file has a string literal of exactly this value.
func holdsString(file *ast.File, want string) (found bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			value, err := strconv.Unquote(literal.Value)
			found = found || err == nil && value == want
		}
		return !found
	})
	return found
}
