package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestUsersAreShownAndDeleted(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	s := d.serve()
	a := s.exchange(d.clientToken("alice", map[string]any{"plan": "pro"}))
	if printed := d.run("users", "show", "alice"); !strings.HasPrefix(printed, "user alice of tenant default, 1 live session\n") || !strings.Contains(printed, `  plan: "pro" (set by: issuer `+d.issuer.URL+")\n") {
		t.Errorf("users show prints\n%s", printed)
	}
	if printed := d.run("users", "delete", "alice"); !strings.HasPrefix(printed, "Deleted user alice of tenant default. 1 session ended. In the event log, deleted-") {
		t.Errorf("users delete prints\n%s", printed)
	}
	if r := s.refresh(a.text("refresh_token")); r.status != 400 || r.json["error"] != "invalid_grant" {
		t.Errorf("the session is refreshed: %d", r.status)
	}
	if s.introspect(a.text("access_token")).is(true) {
		t.Error("the access token is active")
	}
	for _, args := range [][]string{{"users", "delete", "alice"}, {"users", "show", "alice"}} {
		d.rejects(args, `tenant "default" has no user "alice"`)
	}
	d.rejects([]string{"users", "delete"}, "give one SUB")
}

func TestUsersAreListedPageByPage(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.write("latchkey.yaml", d.text()+"    users:\n      - { sub: carol }\n      - { sub: dave, disabled: true }\n")
	s := d.serve()
	d.signIn(s, "alice")
	d.signIn(s, "alice")
	const header = "ID     ISSUER                  SUBJECT  CREATED"
	page := d.run("users", "list", "--limit", "2")
	lines := strings.Split(page, "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], header) || !strings.HasSuffix(lines[0], "LAST SEEN             SESSIONS") ||
		!strings.HasPrefix(lines[1], "alice  "+d.issuer.URL+"  alice    ") || !strings.HasSuffix(lines[1], "Z  2") ||
		!strings.HasPrefix(lines[2], "carol  "+d.issuer.URL+"  carol    ") || !strings.HasSuffix(lines[2], "Z  0") ||
		lines[3] != "For the next page, repeat the command with --cursor carol" {
		t.Errorf("the first page is\n%s", page)
	}
	if page := d.run("users", "list", "--limit", "2", "--cursor", "carol"); !strings.Contains(page, "\ndave ") || strings.Contains(page, "carol") || strings.Contains(page, "For the next page") {
		t.Errorf("the second page is\n%s", page)
	}
	var found struct {
		Users []struct {
			ID       string
			Issuers  []string
			Sessions int
			Disabled bool
		}
		NextCursor string `json:"next_cursor"`
	}
	must(t, json.Unmarshal([]byte(d.run("users", "list", "--json", "--issuer", d.issuerID(), "--prefix", "d")), &found))
	if len(found.Users) != 1 || found.Users[0].ID != "dave" || !found.Users[0].Disabled || found.Users[0].Issuers[0] != d.issuer.URL || found.NextCursor != "" {
		t.Errorf("as JSON: %+v", found)
	}
	must(t, json.Unmarshal([]byte(d.run("users", "list", "--json", "--limit", "1")), &found))
	if len(found.Users) != 1 || found.Users[0].ID != "alice" || found.Users[0].Sessions != 2 || found.NextCursor != "alice" {
		t.Errorf("as JSON: %+v", found)
	}
	if printed := d.run("users", "list", "--prefix", "nobody"); printed != "Tenant default has no matching users.\n" {
		t.Errorf("nobody: %s", printed)
	}
	d.rejects([]string{"users", "list", "--limit", "0"}, "--limit must be between 1 and 1000")
	d.rejects([]string{"users", "list", "--issuer", "https://none.example.com"}, `tenant "default" has no trusted issuer with the id or the URL "https://none.example.com"`)
	d.rejects([]string{"users", "list", "--tenant", "none"}, `there is no tenant "none"`)
	d.rejects([]string{"users", "list", "alice"}, `unknown command "alice"`)
}
