package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestALinkSignsInToTheConsoleOfTheServer(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	operator := d.operator("owner")
	id := strings.Fields(strings.Split(d.run("admin-keys", "list"), "\n")[1])[0]
	form := regexp.MustCompile(`^https://admin\.example\.com/console/sign-in#(lk_cl_[\w-]+)\n$`)
	printed := d.run("admin-keys", "link", "--key", id, "--url", "https://admin.example.com/")
	if !form.MatchString(printed) {
		t.Fatalf("admin-keys link prints %s", printed)
	}
	if again := d.run("admin-keys", "link", "--key", id, "--url", "https://admin.example.com/"); again == printed {
		t.Error("two links have the same code")
	}
	if page := operator.server.do("GET", "/console/sign-in", ""); page.status != 200 || !strings.Contains(page.body, "Sign in to the console") {
		t.Errorf("the server does not serve the console: %d %s", page.status, page.body)
	}
	operator.rejects([]string{"admin-keys", "link", "--key", id}, "run the command on the server, without --server")
	d.rejects([]string{"admin-keys", "link"}, "--key is required")
	d.rejects([]string{"admin-keys", "link", "--key", "nobody", "--url", "https://admin.example.com"}, "there is no admin key with the id \"nobody\"")
	d.rejects([]string{"admin-keys", "link", "--key", id}, "switches the console off")
	spare := regexp.MustCompile(`(?m)^(\w+) +viewer's`)
	d.adminKey("viewer")
	found := spare.FindStringSubmatch(d.run("admin-keys", "list"))
	if found == nil {
		t.Fatal("the second key is not listed")
	}
	d.run("admin-keys", "revoke", found[1])
	d.rejects([]string{"admin-keys", "link", "--key", found[1], "--url", "https://admin.example.com"}, "was revoked or has expired")
}
