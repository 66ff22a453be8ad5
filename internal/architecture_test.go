package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"testing"
)

// architecture is the document that says where things are.
const architecture = "../docs/architecture.md"

// place is a line of its last table: what, file, function.
var place = regexp.MustCompile("(?m)^\\| (.+?) \\| `([a-z_/]+\\.go)` \\| `(\\w+)` \\|$")

func TestTheArchitecturePageNamesFunctionsThatAreThere(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	places := place.FindAllStringSubmatch(string(text), -1)
	if len(places) < 20 {
		t.Fatalf("%d lines were found in the table: has its form changed?", len(places))
	}
	for _, p := range places {
		what, file, function := p[1], p[2], p[3]
		parsed, err := parser.ParseFile(token.NewFileSet(), path.Join("..", file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v: change its line in docs/architecture.md", what, err)
			continue
		}
		if !slices.ContainsFunc(parsed.Decls, func(d ast.Decl) bool {
			f, is := d.(*ast.FuncDecl)
			return is && f.Name.Name == function
		}) {
			t.Errorf("%s: %s does not declare %s: change its line in docs/architecture.md", what, file, function)
		}
	}
}

func TestTheArchitecturePageNamesEveryTableAndItsFiles(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	created := regexp.MustCompile(`CREATE TABLE (\w+)`)
	var tables []string
	for _, file := range []string{"../models/schema.go", "../models/schema_settings.go"} {
		schema, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v: name the files of the schema here and in docs/architecture.md", err)
		}
		for _, match := range created.FindAllStringSubmatch(string(schema), -1) {
			tables = append(tables, match[1])
		}
	}
	if len(tables) == 0 {
		t.Fatal("the schema has no tables: has it moved?")
	}
	for _, table := range tables {
		if !regexp.MustCompile("(?m)^\\| .*`" + table + "`.* \\|").Match(text) {
			t.Errorf("the table %s is missing", table)
		}
	}
	row := regexp.MustCompile("(?m)^\\| `[a-z_`, ]+ \\| .* \\| (.*) \\|$")
	file := regexp.MustCompile("`([a-z_]+\\.go)`")
	for _, line := range row.FindAllStringSubmatch(string(text), -1) {
		for _, name := range file.FindAllStringSubmatch(line[1], -1) {
			if _, err := os.Stat(path.Join("../models", name[1])); err != nil {
				t.Errorf("%v: change its line in docs/architecture.md", err)
			}
		}
	}
}
