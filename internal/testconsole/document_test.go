package testconsole

import (
	"encoding/json"
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/models"
)

var documentText = regexp.MustCompile(`(?s)<textarea id="document-text"[^>]*>(.*?)</textarea>`)

// document returns the settings that the form of a page edits as JSON.
func (r *response) document(t *testing.T) map[string]any {
	t.Helper()
	found := documentText.FindStringSubmatch(r.body)
	var doc map[string]any
	if found == nil || json.Unmarshal([]byte(html.UnescapeString(found[1])), &doc) != nil {
		t.Fatalf("the page has no settings as JSON: %s", r.text())
	}
	return doc
}

func TestEverySettingCanBeEditedAsJSON(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		b := d.signedIn(t, d.keys[models.RoleOwner])
		fill := inAcme(t, d)
		for path, c := range map[string]struct {
			member string
			value  any
			fault  any
		}{
			"/clients/backend":      {"late_retry", "never", "sometimes"},
			fill("/issuers/ISSUER"): {"leeway", "7s", "7 fortnights"},
			"/settings":             {"store_device", false, "perhaps"},
		} {
			const clients = "/console/t/default"
			at := "/console/t/acme"
			if strings.HasPrefix(path, "/clients") {
				at = clients
			}
			page := want(t, 200, b.get(at+path))
			stored, doc := page.document(t), page.document(t)
			send := func(value any, version string) *response {
				doc[c.member] = value
				text, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				return b.post(at+path+"/document", "document", string(text), "version", version)
			}
			refused := want(t, 400, send(c.fault, page.version()))
			wantText(t, refused, "Nothing was changed.", c.member)
			if refused.document(t)[c.member] != c.fault {
				t.Errorf("%s: the form has lost what was typed", path)
			}
			want(t, 412, send(c.value, "stale"))
			want(t, 400, b.post(at+path+"/document", "document", "{", "version", page.version()))
			want(t, 400, b.post(at+path+"/document", "document", `{"no_such_setting": 1}`, "version", page.version()))
			want(t, 303, send(c.value, page.version()))
			saved := want(t, 200, b.get(at+path)).document(t)
			if stored[c.member] = c.value; len(saved) != len(stored) || saved[c.member] != c.value {
				t.Errorf("%s: saved %v, want %v", path, saved, stored)
			}
		}
		// A secret is kept, because the document does not contain it.
		d.SignInAtBackend("alice")
		if page := d.signedIn(t, d.keys[models.RoleViewer]).get(clientsPath + "/backend"); documentText.MatchString(page.body) || !strings.Contains(page.text(), "All settings") {
			t.Error("a viewer may edit, or does not see the settings")
		}
	})
}
