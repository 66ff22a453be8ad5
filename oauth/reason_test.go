package oauth

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// catalogue returns the values of the constants in reason.go.
func catalogue(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Reason" || len(spec.Values) != 1 {
			t.Errorf("%v is not one constant of type Reason", spec.Names)
			return true
		}
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, word)
		return true
	})
	return words
}

// documented maps each reason of docs/errors.md to its paragraph.
func documented(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	paragraphs := map[string]string{}
	for _, section := range strings.Split(string(page), "\n#### `")[1:] {
		word, rest, _ := strings.Cut(section, "`\n")
		rest, _, _ = strings.Cut(rest, "\n## ")
		if _, twice := paragraphs[word]; twice {
			t.Errorf("docs/errors.md describes %s twice", word)
		}
		paragraphs[word] = strings.TrimSpace(rest)
	}
	return paragraphs
}

func TestEveryReasonIsDocumented(t *testing.T) {
	words, paragraphs := catalogue(t), documented(t)
	form := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	for i, word := range words {
		if !form.MatchString(word) {
			t.Errorf("%q is not a word in lower case", word)
		}
		if slices.Index(words, word) != i {
			t.Errorf("%s is declared twice", word)
		}
		if len(paragraphs[word]) < 40 {
			t.Errorf("docs/errors.md does not describe %s", word)
		}
	}
	for word := range paragraphs {
		if !slices.Contains(words, word) {
			t.Errorf("docs/errors.md describes %s, which is not in reason.go", word)
		}
	}
}
