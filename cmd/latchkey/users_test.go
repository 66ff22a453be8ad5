package main

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestUsersAreShownAndDeleted(t *testing.T) {
	d := newDeployment(t, testdb.SQLite(t))
	s := d.serve()
	a := s.exchange(d.clientToken("alice", map[string]any{"plan": "pro"}))
	if said := d.run("users", "show", "alice"); !strings.HasPrefix(said, "user alice of tenant default, 1 live session\n") || !strings.Contains(said, `  plan: "pro" (set by: issuer `+d.issuer.URL+")\n") {
		t.Errorf("users show prints\n%s", said)
	}
	if said := d.run("users", "delete", "alice"); !strings.HasPrefix(said, "Deleted user alice of tenant default; 1 session ended. Events now say deleted-") {
		t.Errorf("users delete prints\n%s", said)
	}
	if r := s.refresh(a.text("refresh_token")); r.status != 400 || r.json["error"] != "invalid_grant" {
		t.Errorf("the session is refreshed: %d", r.status)
	}
	if s.introspect(a.text("access_token")).is(true) {
		t.Error("the access token is active")
	}
	for _, args := range [][]string{{"users", "delete", "alice"}, {"users", "show", "alice"}} {
		d.refuses(args, `tenant "default" has no user "alice"`)
	}
	d.refuses([]string{"users", "delete"}, "which user? Give one SUB")
}
