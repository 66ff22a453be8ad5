package main

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestApplyMakesTheChangesThatItsDryRunPrints(t *testing.T) {
	t.Parallel()
	testdb.EachEmpty(t, func(t *testing.T, url string) {
		d := newDeployment(t, url)
		all := d.run("apply", "--dry-run") // the database does not exist, and is not created
		for _, line := range []string{"+ tenant default\n", "+ default/client web\n", "+ default/client backend\n", "+ default/issuer " + d.issuerID() + "\n"} {
			if !strings.Contains(all, line) {
				t.Errorf("the first difference does not contain %q:\n%s", line, all)
			}
		}
		if !strings.HasSuffix(all, "\n4 changes planned. This was a dry run: nothing was changed.\n") || strings.Contains(all, "a-client-secret") {
			t.Errorf("the first difference:\n%s", all)
		}
		if again := d.run("apply", "--dry-run"); again != all {
			t.Errorf("the second dry run prints\n%sthe first\n%s", again, all)
		}
		if made := d.run("apply"); made != strings.Replace(all, "4 changes planned. This was a dry run: nothing was changed.", "4 changes made.", 1) {
			t.Errorf("apply makes\n%sits dry run printed\n%s", made, all)
		}
		for range 2 {
			if again := d.run("apply"); again != "No changes.\n" {
				t.Errorf("again:\n%s", again)
			}
		}

		d.edit("refresh_grace: 60s", "refresh_grace: 30s\n        access_token_ttl: 10m", "{ plan: user.plan }", "{ level: user.plan }",
			"secret_file: backend-secret", "secret: another-secret-of-the-back-end-of-this-app")
		d.write("latchkey.yaml", d.text()+"    users:\n      - { sub: alice, attributes: { plan: pro } }\n")
		const difference = `~ default/client web
    access_token_ttl: "10m"
    claims.level: "user.plan"
    claims.plan: "user.plan" → (default)
    refresh_grace: "1m" → "30s"
    ! loosens: access_token_ttl is longer, 10m instead of 5m
~ default/client backend
    secret: changed
+ default/user alice
    attributes.plan: "pro"
`
		for range 2 { // a dry run changes nothing
			if printed := d.run("apply", "--dry-run"); printed != difference+"3 changes planned. This was a dry run: nothing was changed.\n" {
				t.Errorf("difference\n%swant\n%s", printed, difference)
			}
		}
		if printed := d.run("apply"); printed != difference+"3 changes made.\n" {
			t.Errorf("difference\n%swant\n%s", printed, difference)
		}
		if again := d.run("apply", "--dry-run"); again != "No changes.\n" {
			t.Errorf("again:\n%s", again)
		}
	})
}

func TestApplyKeepsWhatTheFileDoesNotName(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.run("apply")
	whole := d.text()
	d.write("latchkey.yaml", whole[:strings.Index(whole, "tenants:")])
	if printed := d.run("apply"); printed != "No changes.\n" {
		t.Errorf("a file without tenants: %s", printed)
	}
	d.write("latchkey.yaml", whole)
	if printed := d.run("apply"); printed != "No changes.\n" {
		t.Errorf("the file before: %s", printed)
	}
}

func TestApplyRejectsInvalidArguments(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.run("migrate")
	d.rejects([]string{"apply", "something.yaml"}, `unknown command "something.yaml"`)
	if printed := d.run("apply", "--dry-run"); !strings.HasPrefix(printed, "+ tenant default\n") {
		t.Errorf("a rejected apply has changed something:\n%s", printed)
	}
	code, _, stderr := run(t, nil, "apply")
	if code != 1 || !strings.Contains(stderr, "no file given") {
		t.Errorf("without a file: exit code %d: %s", code, stderr)
	}
	if printed := d.run("apply", "-f", d.file); !strings.HasSuffix(printed, "\n4 changes made.\n") {
		t.Errorf("with -f: %s", printed)
	}
}

// A running process sees what another process applies.
func TestARunningServerSeesAppliedChanges(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.Postgres(t))
	d.allowApply()
	s := d.serve()
	before := s.exchange(d.clientToken("alice", map[string]any{"plan": "gold"}))
	if seen := s.introspect(before.text("access_token")); seen.text("plan") != "gold" {
		t.Fatalf("introspection: %d %s", seen.status, seen.body)
	}

	d.edit("{ plan: user.plan }", "{ level: user.plan }", "      - id: backend", "      - id: app\n        auth: none\n        grants: [token-exchange]\n      - id: backend")
	d.run("apply")
	eventually(t, "the new client exchanges", func() bool { return s.exchangeAt("app", d.clientToken("alice", nil)).status == 200 })
	after := s.exchange(d.clientToken("alice", map[string]any{"plan": "gold"}))
	if seen := s.introspect(after.text("access_token")); seen.text("level") != "gold" || seen.text("plan") != "" {
		t.Errorf("the changed claim: %s", seen.body)
	}

	d.edit("      - id: web\n", "      - id: web\n        disabled: true\n")
	d.run("apply")
	eventually(t, "the disabled client is rejected", func() bool { return s.exchange(d.clientToken("alice", nil)).status == 401 })
	for name, token := range map[string]string{"access": before.text("access_token"), "refresh": before.text("refresh_token")} {
		if seen := s.introspect(token); !seen.is(false) {
			t.Errorf("the disabled client's %s token: %s", name, seen.body)
		}
	}
	if refreshed := s.refresh(after.text("refresh_token")); refreshed.status != 401 {
		t.Errorf("the disabled client refreshes: %d %s", refreshed.status, refreshed.body)
	}

	d.edit("disabled: true", "disabled: false")
	d.run("apply")
	eventually(t, "the client is enabled again", func() bool { return s.exchange(d.clientToken("alice", nil)).status == 200 })
	if refreshed := s.refresh(after.text("refresh_token")); refreshed.status != 400 || refreshed.text("error") != "invalid_grant" {
		t.Errorf("a session from before the client was disabled: %d %s", refreshed.status, refreshed.body)
	}
}

func TestPruneRemovesWhatTheFileDoesNotName(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDeployment(t, url)
		whole := d.text()
		d.write("latchkey.yaml", whole+"  - id: acme\n    signing_algorithm: ES256\n    clients:\n      - { id: portal, auth: none }\n")
		d.run("apply")
		d.write("latchkey.yaml", strings.Replace(whole, "      - id: web\n        auth: none\n        grants: [token-exchange, refresh]\n        refresh_grace: 60s\n        claims: { plan: user.plan }\n", "", 1))
		const difference = "- default/client web\n- tenant acme\n"
		for range 2 {
			if printed := d.run("apply", "--prune", "--dry-run"); printed != difference+"2 changes planned. This was a dry run: nothing was changed.\n" {
				t.Errorf("dry run:\n%swant\n%s", printed, difference)
			}
		}
		if printed := d.run("apply", "--prune"); printed != difference+"2 changes made.\n" {
			t.Errorf("prune:\n%swant\n%s", printed, difference)
		}
		if printed := d.run("apply", "--prune"); printed != "No changes.\n" {
			t.Errorf("again:\n%s", printed)
		}
		d.write("latchkey.yaml", whole+"  - id: acme\n")
		d.rejects([]string{"apply"}, `the id "acme" belonged to a tenant that was removed`, "never used again")
		d.rejects([]string{"serve"}, `the id "acme" belonged to a tenant that was removed`, "never used again")
		d.write("latchkey.yaml", strings.Split(whole, "tenants:")[0])
		d.rejects([]string{"apply", "--prune"}, "names no tenant")
	})
}
