package testadmin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

func readReference(t *testing.T) (*testserver.Answer, string) {
	t.Helper()
	d := newDeployment(t, sqlite(t))
	a := want(t, 200, d.send(t, "GET", "/admin/v1/docs", nil, undocumented))
	return a, html.UnescapeString(string(a.Body))
}

func TestTheReferencePageContainsTheWholeDocument(t *testing.T) {
	t.Parallel()
	_, page := readReference(t)
	ids := map[string]bool{}
	for _, found := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if ids[found[1]] {
			t.Errorf("two elements have the id %s", found[1])
		}
		ids[found[1]] = true
	}
	for _, op := range theDocument().operations {
		if !ids[op.id] {
			t.Errorf("the page does not contain the operation %s", op.id)
		}
		_, rest, _ := strings.Cut(page, `id="`+op.id+`"`)
		section, _, _ := strings.Cut(rest, "</article>")
		for _, part := range append(slices.Clone(op.kinds), op.statuses...) {
			if !strings.Contains(section, "<code>"+part+"</code>") {
				t.Errorf("the operation %s is shown without %s", op.id, part)
			}
		}
	}
	for name := range theDocument().schemas {
		if !ids[name] {
			t.Errorf("the page does not contain the schema %s", name)
		}
	}
	for _, link := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !ids[link[1]] {
			t.Errorf("a link leads to #%s, which does not exist", link[1])
		}
	}
	for _, member := range regexp.MustCompile(`<dt><code>([^<]+)</code>[^\n]*\n<dd></?d`).FindAllStringSubmatch(page, -1) {
		t.Errorf("the member %s has no description", member[1])
	}
}

// The browser itself enforces that the page loads nothing and runs no script.
func TestTheReferencePageLoadsNothing(t *testing.T) {
	t.Parallel()
	a, page := readReference(t)
	policy := a.Header.Get("Content-Security-Policy")
	if !regexp.MustCompile(`^default-src 'none'; style-src 'sha256-[^ ;]+'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$`).MatchString(policy) {
		t.Errorf("Content-Security-Policy %q", policy)
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindSubmatch(a.Body)
	sum := sha256.Sum256(style[1])
	if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Error("the policy does not allow the style of the page")
	}
	for name, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	for _, part := range []string{"<script", "<link", "<img", " src=", "@import", "url(", " style="} {
		if strings.Contains(page, part) {
			t.Errorf("the page contains %q", part)
		}
	}
	for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(link[1], "#") && link[1] != "openapi.json" && link[1] != "openapi.yaml" {
			t.Errorf("the page links to %s", link[1])
		}
	}
}

func TestTheDocumentListsTheRolesOfEachOperation(t *testing.T) {
	t.Parallel()
	text, err := asJSON(theDocument().text)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string
			Roles       []string `json:"x-latchkey-roles"`
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for _, methods := range document.Paths {
		for _, op := range methods {
			letters := ""
			for _, role := range op.Roles {
				letters += role[:1]
			}
			if letters != mayCall[op.OperationID] {
				t.Errorf("%s lists %q, but %q may call it", op.OperationID, letters, mayCall[op.OperationID])
			}
		}
	}
}
