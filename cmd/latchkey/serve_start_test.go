package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestServeReportsTheTwoMissingSettings(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "serve")
	if code := p.wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	var named []string
	for line := range strings.Lines(p.err.String()) {
		if path, how, ok := strings.Cut(line, ": is missing: "); ok {
			named = append(named, path)
			if !strings.Contains(how, "LATCHKEY_"+strings.ToUpper(path)) {
				t.Errorf("it does not explain how to set %s: %s", path, how)
			}
		}
	}
	if !slices.Equal(named, []string{"issuer", "secret"}) || !strings.Contains(p.err.String(), "2 faults") || !strings.Contains(p.err.String(), "latchkey secret new") {
		t.Errorf("it names %v: %s", named, p.err.String())
	}
	if left := listing(t, p.cmd.Dir); left != "" {
		t.Errorf("it leaves %s", left)
	}
}

func TestServeWithTwoSettingsServesAnEmptyDefaultTenant(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"LATCHKEY_ISSUER=" + baseIssuer, "LATCHKEY_SECRET=" + testserver.RootSecret,
		"LATCHKEY_LISTEN=127.0.0.1:0", "LATCHKEY_METRICS_LISTEN=none", "LATCHKEY_ADMIN_LISTEN=none"}, "serve")
	s := &server{process: p, scheme: "http"}
	s.untilReady()
	if metadata := s.get("/.well-known/openid-configuration"); metadata.text("issuer") != baseIssuer || len(s.kids()) != 1 {
		t.Errorf("metadata %s, keys %v", metadata.body, s.kids())
	}
	if a := s.refresh("lk_rt_"); a.status != 401 || a.text("error") != "invalid_client" {
		t.Errorf("a client that nobody made: %d %s", a.status, a.body)
	}
}

func TestServeReportsEveryFaultAndWritesNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	database := filepath.Join(folder, "latchkey.db")
	d := newDeployment(t, "sqlite:"+database)
	d.edit("secret_file: root-secret", "secret: short", "metrics_listen: none", "metrics_listen: nowhere",
		"refresh_grace: 60s", "refresh_grace: 2m\n        access_token_tll: 5m", "{ plan: user.plan }", "{ plan: user.plan +, sub: user.sub }",
		"[client-credentials]", "[password]", "token_type: jwt", "token_type: jwt\n        max_age: soon",
		"signing_algorithm: ES256", "signing_algorithm: HS256")
	d.write("latchkey.yaml", d.text()+"    users:\n      - { sub: web }\ncolour: red\n")

	for name, args := range map[string][]string{"serve": {"serve"}, "apply": {"apply"}, "a dry run": {"apply", "--dry-run"}} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := run(t, []string{"LATCHKEY_LISTN=127.0.0.1:0"}, append(args, "--config", d.file)...)
			var paths []string
			for line := range strings.Lines(stderr) {
				path, _, _ := strings.Cut(line, ": ")
				paths = append(paths, path)
			}
			slices.Sort(paths)
			want := []string{"LATCHKEY_LISTN", "colour", "latchkey", "metrics_listen", "secret",
				"tenants[0].clients[0].access_token_tll", "tenants[0].clients[0].claims.plan", "tenants[0].clients[0].claims.sub",
				"tenants[0].clients[0].refresh_grace", "tenants[0].clients[1].grants[0]", "tenants[0].signing_algorithm",
				"tenants[0].trusted_issuers[0].max_age", "tenants[0].users[0].sub"}
			if code != 1 || !slices.Equal(paths, want) {
				t.Errorf("exit code %d, faults at\n%q, want\n%q\n%s", code, paths, want, stderr)
			}
			if left := listing(t, folder); left != "" {
				t.Errorf("it leaves %s", left)
			}
		})
	}
}

func TestServeRejectsAFileThatConflictsWithTheDatabase(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.run("apply")
	d.edit("id: web", "id: other", "id: backend", "id: behind")
	d.write("latchkey.yaml", d.text()+"    users:\n      - { sub: web }\n")
	d.rejects([]string{"serve"}, "tenants[0].users[0].sub: is the id of a client (user web)")
	d.edit("- { sub: web }", "- { sub: dave }")
	if difference := d.run("apply", "--dry-run"); !strings.Contains(difference, "+ default/client other") {
		t.Errorf("something of the refused file was written:\n%s", difference)
	}
}

func TestServeReportsWhyItCannotStart(t *testing.T) {
	t.Parallel()
	t.Run("its address is taken", func(t *testing.T) {
		d := newDeployment(t, testdb.SQLite(t))
		first := d.serve()
		address := strings.TrimPrefix(first.url, "http://")
		p := d.start("LATCHKEY_LISTEN=" + address)
		if code := p.wait(); code != 1 || !strings.Contains(p.err.String(), address+": bind: address already in use") {
			t.Errorf("exit code %d: %s", code, p.err.String())
		}
		p = d.start("LATCHKEY_METRICS_LISTEN=" + address)
		if code := p.wait(); code != 1 || !strings.Contains(p.err.String(), "metrics_listen: ") {
			t.Errorf("exit code %d: %s", code, p.err.String())
		}
	})
	t.Run("its database is unreachable", func(t *testing.T) {
		d := newDeployment(t, "postgres://latchkey:the-password-of-the-database@"+freeAddress(t)+"/latchkey")
		d.rejects([]string{"serve"}, "latchkey: open database: the database is unavailable: ", "connection refused")
		_, _, stderr := run(t, nil, "serve", "--config", d.file)
		if strings.Contains(stderr, "the-password-of-the-database") {
			t.Errorf("it prints the password: %s", stderr)
		}
	})
	t.Run("its configuration is not there", func(t *testing.T) {
		code, _, stderr := run(t, []string{"LATCHKEY_CONFIG=nowhere.yaml"}, "serve")
		if code != 1 || !strings.Contains(stderr, "read configuration nowhere.yaml: ") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

func TestWithoutMigrationAnEmptyDatabaseIsRejected(t *testing.T) {
	t.Parallel()
	testdb.EachEmpty(t, func(t *testing.T, url string) {
		d := newDeployment(t, url)
		d.edit("database: {", "database: { migrate: false,")
		for _, args := range [][]string{{"serve"}, {"apply"}, {"keys", "list"}} {
			d.rejects(args, "the database schema is older than this release: run `latchkey migrate`")
		}
		if printed := d.run("migrate"); printed != "The schema is up to date.\n" {
			t.Errorf("migrate prints %q", printed)
		}
		d.run("migrate") // again: nothing to do
		d.serve()
	})
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	path := filepath.Join(d.folder, "database-url")
	d.write("database-url", testdb.Postgres(t)+"\n")
	d.write("other-root", "a-root-secret-of-the-environment-that-wins!\n")
	s := d.serve("LATCHKEY_DATABASE_URL_FILE="+path, "LATCHKEY_SECRET_FILE="+filepath.Join(d.folder, "other-root"))
	if !strings.Contains(s.err.String(), `"database":"postgres"`) {
		t.Errorf("the URL was not read: %s", s.err.String())
	}
	session := d.signIn(s, "alice")
	if seen := s.introspect(session.text("access_token")); !seen.is(true) { // with the secret from secret_file
		t.Errorf("introspection: %d %s", seen.status, seen.body)
	}
	must(t, os.Remove(path))
	p := d.start("LATCHKEY_DATABASE_URL_FILE=" + path)
	if code := p.wait(); code != 1 || !strings.Contains(p.err.String(), "LATCHKEY_DATABASE_URL_FILE: the file that it names cannot be read") {
		t.Errorf("exit code %d: %s", code, p.err.String())
	}
}

// Two nodes on one machine share the default addresses.
func TestAServerStartsIfADefaultPortIsInUse(t *testing.T) {
	t.Parallel()
	for setting, c := range map[string]struct{ address, what string }{
		"metrics_listen": {config.Default().MetricsListen, "metrics"},
		"admin_listen":   {config.Default().AdminListen, "the admin API"},
	} {
		t.Run(setting, func(t *testing.T) {
			taken, err := net.Listen("tcp", c.address)
			if err == nil {
				defer taken.Close()
			} else if !errors.Is(err, syscall.EADDRINUSE) {
				t.Fatal(err)
			}
			d := newDeployment(t, testdb.SQLite(t))
			d.edit(setting+": none\n", "")
			s := d.serve()
			if !strings.Contains(s.err.String(), "not serving "+c.what+": the default address is in use") {
				t.Errorf("the log does not report it: %s", s.err.String())
			}
			d.edit("listen: 127.0.0.1:0\n", "listen: 127.0.0.1:0\n"+setting+": "+c.address+"\n")
			d.rejects([]string{"serve"}, setting+": ", "address already in use")
		})
	}
}

func TestHealthAcceptsHEAD(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	s := d.serve()
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := s.do(http.MethodHead, path, ""); a.status != 200 || a.body != "" {
			t.Errorf("HEAD %s: %d %q", path, a.status, a.body)
		}
	}
	if strings.Contains(s.err.String(), `"msg":"request"`) {
		t.Errorf("probes are logged: %s", s.err.String())
	}
}

// With tenants_at_start: off no log line reports that tenants of the file were applied,
// whatever the database contains and whatever was applied before.
func TestServeWithoutAFileReportsNoAppliedFile(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newDeployment(t, url)
	off := func(when string) {
		t.Helper()
		s := d.serve("LATCHKEY_TENANTS_AT_START=off")
		for _, claim := range []string{"applied the tenants", "configuration applied", "did not apply"} {
			if strings.Contains(s.err.String(), claim) {
				t.Errorf("%s the log contains %q:\n%s", when, claim, s.err.String())
			}
		}
		if made := strings.Contains(s.err.String(), "created an empty tenant"); made != (when == "with no tenant") {
			t.Errorf("%s a tenant was created: %v", when, made)
		}
		if a := s.exchange(d.clientToken("alice", nil)); (a.status == 200) != (when == "with the tenants of the file") {
			t.Errorf("%s a sign-in gets status %d", when, a.status)
		}
		s.kill()
	}
	off("with no tenant")
	off("with the empty tenant")
	d.started()
	d.edit("refresh_grace: 60s", "refresh_grace: 30s") // a server that applies it logs this
	off("with the tenants of the file")
	d.edit("metrics_listen: none", "metrics_listen: none\nrevision: 2")
	d.started()
	d.edit("revision: 2", "revision: 1")
	off("with the tenants of the file")
}
