package handlers

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// documented returns the table of docs/endpoints.md.
func documented() string {
	names := map[callers]string{anyone: "anyone", browsers: "apps", either: "apps and back ends", backEnds: "back ends"}
	var table strings.Builder
	table.WriteString("| Request | What it does | Callers |\n|---|---|---|\n")
	for _, p := range endpoints {
		path := p.path
		for _, param := range []string{"sid", "list", "destination"} {
			path = strings.ReplaceAll(path, ":"+param, "{"+param+"}")
		}
		for _, m := range p.methods {
			fmt.Fprintf(&table, "| `%s %s` | %s | %s |\n", m.name, path, m.summary, names[p.callers])
		}
	}
	return table.String()
}

func TestTheDocumentationListsEveryEndpoint(t *testing.T) {
	page, err := os.ReadFile("../docs/endpoints.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "<!-- table -->\n")
	table, _, ok := strings.Cut(rest, "<!-- end of table -->")
	if want := documented(); !ok || table != want {
		t.Errorf("docs/endpoints.md must contain:\n%s", want)
	}
}

func TestAPathBelongsToOneEndpoint(t *testing.T) {
	for path, want := range map[string]string{
		"/token": "/token", "/sessions": "/sessions", "/sessions/x": "/sessions/:sid", "/sessions/x/extend": "/sessions/:sid/extend",
		"/sessions/": "", "/sessions/x/y": "", "/tokens": "", "": "", "/": "",
	} {
		got := ""
		for _, p := range endpoints {
			if p.matches(path) {
				got += p.path
			}
		}
		if got != want {
			t.Errorf("%q is served by %q, want %q", path, got, want)
		}
	}
}
