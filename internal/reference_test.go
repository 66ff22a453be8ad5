package internal

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

// Whoever reads a comment or a page must be able to follow what it refers to.

var (
	absentDocument = regexp.MustCompile(`\b(DESIGN|CONFORMANCE|STYLE)\b|\b[CL]-\d{2}\b`)
	conformanceID  = regexp.MustCompile(`\b[RN]-[A-Z]{2}-\d+\b`)
	documentPath   = regexp.MustCompile(`\bdocs/[\w/.-]+\.md\b`)
	markdownLink   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading        = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	codeBlock      = regexp.MustCompile("(?ms)^ *```.*?^ *```")
)

func TestEveryReferenceLeadsSomewhere(t *testing.T) {
	for _, fault := range references(t, os.DirFS("..")) {
		t.Error(fault)
	}
}

func TestBrokenReferencesAreFound(t *testing.T) {
	tree := fstest.MapFS{
		"docs/conformance.md": {Data: []byte("| R-TE-01 | a rule |\n")},
		"docs/a.md":           {Data: []byte("# One page\n## What it's for: `a`\n[x](b.md) [y](a.md#one-page) [z](#what-its-for-a) [w](#none) [v](https://example.com/x)\n```\n[no link](c.md)\n```\n")},
		"oauth/a.go":          {Data: []byte("package oauth\n\n// DESIGN §4 and R-TE-02, not R-TE-01; docs/none.md\nvar a = `CONFORMANCE`\n")},
	}
	got := strings.Join(references(t, tree), "\n")
	want := strings.Join([]string{
		"docs/a.md: b.md does not exist",
		"docs/a.md: a.md has no heading #none",
		"oauth/a.go: cites DESIGN, which the repository does not hold",
		"oauth/a.go: docs/conformance.md has no R-TE-02",
		"oauth/a.go: docs/none.md does not exist",
	}, "\n")
	if got != want {
		t.Errorf("found\n%s\nwant\n%s", got, want)
	}
}

// references reports references of comments and pages that lead nowhere.
func references(t *testing.T, tree fs.FS) (faults []string) {
	t.Helper()
	rules, err := fs.ReadFile(tree, conformanceTable)
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git" || entry.Name() == "testdata"):
			return fs.SkipDir
		case path.Ext(name) == ".md":
			faults = append(faults, brokenLinks(t, tree, name)...)
		case path.Ext(name) == ".go" && name != "internal/reference_test.go":
			faults = append(faults, brokenCitations(t, tree, name, string(rules))...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return faults
}

func brokenCitations(t *testing.T, tree fs.FS, name, rules string) (faults []string) {
	t.Helper()
	source, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Comments {
		text := group.Text()
		for _, cited := range absentDocument.FindAllString(text, -1) {
			faults = append(faults, fmt.Sprintf("%s: cites %s, which the repository does not hold", name, cited))
		}
		for _, id := range conformanceID.FindAllString(text, -1) {
			if !strings.Contains(rules, id) {
				faults = append(faults, fmt.Sprintf("%s: %s has no %s", name, conformanceTable, id))
			}
		}
		for _, page := range documentPath.FindAllString(text, -1) {
			if _, err := fs.Stat(tree, page); err != nil {
				faults = append(faults, fmt.Sprintf("%s: %s does not exist", name, page))
			}
		}
	}
	return faults
}

// brokenLinks reports relative links of a page to files or headings that are not
// there.
func brokenLinks(t *testing.T, tree fs.FS, name string) (faults []string) {
	t.Helper()
	page, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range markdownLink.FindAllStringSubmatch(codeBlock.ReplaceAllString(string(page), ""), -1) {
		if strings.Contains(link[1], ":") {
			continue
		}
		file, anchor, _ := strings.Cut(link[1], "#")
		target := name
		if file != "" {
			target = path.Join(path.Dir(name), file)
		}
		text, err := fs.ReadFile(tree, target)
		if _, missing := fs.Stat(tree, target); missing != nil {
			faults = append(faults, fmt.Sprintf("%s: %s does not exist", name, file))
			continue
		}
		if anchor != "" && (err != nil || !hasHeading(string(text), anchor)) {
			faults = append(faults, fmt.Sprintf("%s: %s has no heading #%s", name, path.Base(target), anchor))
		}
	}
	return faults
}

// hasHeading reports whether a heading of the page has the anchor, made as
// GitHub does.
func hasHeading(page, anchor string) bool {
	for _, match := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(page, ""), -1) {
		var slug strings.Builder
		for _, r := range strings.ToLower(match[1]) {
			switch {
			case r == ' ':
				slug.WriteByte('-')
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				slug.WriteRune(r)
			}
		}
		if slug.String() == anchor {
			return true
		}
	}
	return false
}
