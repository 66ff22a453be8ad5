package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestHelpOfEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	var names []string
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		names = append(names, c.CommandPath())
		t.Run(c.CommandPath(), func(t *testing.T) {
			args := append(strings.Fields(c.CommandPath())[1:], "--help")
			code, help, stderr := run(t, nil, args...)
			_, examples, found := strings.Cut(help, "\nExamples:\n")
			examples, _, _ = strings.Cut(examples, "\n\n")
			if code != 0 || stderr != "" || !found || !strings.Contains(examples, c.CommandPath()) {
				t.Errorf("exit code %d%s, help\n%s", code, stderr, help)
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newCommand())
	slices.Sort(names)
	want := []string{"latchkey", "latchkey admin-keys", "latchkey admin-keys create", "latchkey admin-keys link", "latchkey admin-keys list", "latchkey admin-keys revoke", "latchkey apply", "latchkey destinations", "latchkey destinations deliveries", "latchkey destinations enable", "latchkey destinations list", "latchkey destinations redeliver", "latchkey destinations secret", "latchkey destinations test", "latchkey dev", "latchkey doctor", "latchkey events", "latchkey events follow", "latchkey events list", "latchkey explain", "latchkey healthcheck", "latchkey keys", "latchkey keys list", "latchkey keys retire",
		"latchkey keys rotate", "latchkey migrate", "latchkey restored", "latchkey resume", "latchkey secret", "latchkey secret new", "latchkey secret status", "latchkey serve", "latchkey sessions", "latchkey sessions end", "latchkey sessions list", "latchkey sessions show", "latchkey suspend",
		"latchkey users", "latchkey users delete", "latchkey users list", "latchkey users show", "latchkey version"}
	if !slices.Equal(names, want) {
		t.Errorf("commands %q, want %q", names, want)
	}
}

func TestUnknownCommandsFail(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"sevre":                                 `unknown command "sevre"`,
		"keys rotat":                            `unknown command "rotat" for "latchkey keys"`,
		"secret news":                           `unknown command "news" for "latchkey secret"`,
		"keys retire":                           "give one KID",
		"serve now":                             `unknown command "now" for "latchkey serve"`,
		"serve --prot":                          "unknown flag: --prot\n",
		"sessions show -otu4z4OvsFQKtdpJ9PhdQ":  `-otu4z4OvsFQKtdpJ9PhdQ; put "--" before an argument that begins with "-"`,
		"keys retire -otu4z4OvsFQKtdpJ9PhdQ":    `put "--" before an argument that begins with "-"`,
		"suspend user --otu4z4OvsFQKtdpJ9PhdQ":  `put "--" before an argument that begins with "-"`,
		"sessions show -- -otu4z4OvsFQKtdpJ9Ph": "--config",
	} {
		t.Run(line, func(t *testing.T) {
			code, stdout, stderr := run(t, nil, strings.Fields(line)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, want) {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}

func TestEveryGeneratedSecretIsNewAndLong(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 5 {
		code, secret, stderr := run(t, nil, "secret", "new")
		if code != 0 || stderr != "" || !regexp.MustCompile(`^[A-Za-z0-9_-]{43,}\n$`).MatchString(secret) || seen[secret] {
			t.Errorf("exit code %d: %q after %d others\n%s", code, secret, len(seen), stderr)
		}
		seen[secret] = true
	}
	d := newDeployment(t, testdb.SQLite(t))
	for secret := range seen {
		d.write("root-secret", secret)
		d.serve()
		break
	}
}

func TestHealthcheckDistinguishesRunningFromStoppedServers(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	s := d.serve()
	address := strings.TrimPrefix(s.url, "http://")
	_, port, _ := strings.Cut(address, ":")
	for name, listen := range map[string]string{"its address": address, "every interface": "0.0.0.0:" + port, "every interface, implicitly": ":" + port} {
		if code, _, stderr := run(t, []string{"LATCHKEY_LISTEN=" + listen}, "healthcheck", "--config", d.file); code != 0 {
			t.Errorf("running, requested by %s: exit code %d: %s", name, code, stderr)
		}
	}
	s.signal(syscall.SIGTERM)
	s.wait()
	code, _, stderr := run(t, []string{"LATCHKEY_LISTEN=" + address}, "healthcheck", "--config", d.file)
	if code != 1 || !strings.Contains(stderr, "connection refused") {
		t.Errorf("stopped: exit code %d: %s", code, stderr)
	}
}

func TestReadOnlyCommandsCreateNoDatabase(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "sqlite:"+filepath.Join(t.TempDir(), "absent.db"))
	for _, args := range [][]string{{"keys", "list"}, {"keys", "rotate"}, {"keys", "retire", "K"}, {"secret", "status"}, {"users", "list"}} {
		d.rejects(args, "there is no database at ", "absent.db")
	}
	code, _, printed := run(t, nil, "apply", "--config", d.file)
	if code != 0 || !strings.Contains(printed, "Creating a new database: ") {
		t.Errorf("exit code %d: %s", code, printed)
	}
	d.run("keys", "list")
}

func TestAServerThatFailsToStartChangesNothing(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.Postgres(t))
	d.allowApply()
	s := d.serve()
	address := strings.TrimPrefix(s.url, "http://")
	d.edit("id: web", "id: other")
	for name, env := range map[string][]string{
		"address in use":         {"LATCHKEY_LISTEN=" + address},
		"metrics address in use": {"LATCHKEY_METRICS_LISTEN=" + address},
		"no certificate":         {"LATCHKEY_TLS_CERT_FILE=nope.pem", "LATCHKEY_TLS_KEY_FILE=nope.pem"},
	} {
		if code, _, printed := run(t, env, "serve", "--config", d.file); code != 1 || strings.Contains(printed, "configuration applied") {
			t.Errorf("%s: exit code %d: %s", name, code, printed)
		}
	}
	if printed := d.run("apply", "--dry-run"); !strings.Contains(printed, "+ default/client other") {
		t.Errorf("it was applied: %s", printed)
	}
}
