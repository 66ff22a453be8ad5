package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// operator has an admin key, and neither the configuration nor the database.
type operator struct {
	t      testing.TB
	server *server
	key    string
}

// operator starts a server with the admin API, and makes an admin key on its machine.
func (d *deployment) operator(role string, args ...string) *operator {
	d.t.Helper()
	return &operator{d.t, d.serve("LATCHKEY_ADMIN_LISTEN=127.0.0.1:0"), d.adminKey(role, args...)} // that is the address of listen
}

func (d *deployment) adminKey(role string, args ...string) string {
	d.t.Helper()
	return strings.TrimSpace(d.run(append([]string{"admin-keys", "create", "--name", role + "'s", "--role", role}, args...)...))
}

// with returns an operator with another key.
func (o *operator) with(key string) *operator { return &operator{o.t, o.server, key} }

func (o *operator) env() []string {
	return []string{"LATCHKEY_SERVER=" + o.server.url, "LATCHKEY_ADMIN_KEY=" + o.key}
}

// run runs a command over the admin API, and requires it to succeed.
func (o *operator) run(args ...string) string {
	o.t.Helper()
	code, stdout, stderr := run(o.t, o.env(), args...)
	if code != 0 {
		o.t.Fatalf("latchkey %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	if secrets := stdout + stderr; strings.Contains(secrets, o.key) || strings.Contains(secrets, testserver.ClientSecret) {
		o.t.Errorf("latchkey %s prints a secret", strings.Join(args, " "))
	}
	return stdout
}

// rejects runs a command over the admin API, and requires it to fail with all of the
// sentences.
func (o *operator) rejects(args []string, sentences ...string) {
	o.t.Helper()
	code, stdout, stderr := run(o.t, o.env(), args...)
	if code != 1 {
		o.t.Errorf("latchkey %s: exit code %d, want 1\n%s", strings.Join(args, " "), code, stdout)
	}
	for _, sentence := range sentences {
		if !strings.Contains(stderr, sentence) {
			o.t.Errorf("latchkey %s does not print %q but\n%s", strings.Join(args, " "), sentence, stderr)
		}
	}
	if strings.Contains(stderr, "latchkey: latchkey:") || strings.Contains(stderr, o.key) {
		o.t.Errorf("latchkey %s prints\n%s", strings.Join(args, " "), stderr)
	}
}

// runWith runs a command with a standard input.
func runWith(t testing.TB, stdin string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, append(env, ownStdin+"=1"), args...)
	_, err := io.WriteString(p.stdin.(io.Writer), stdin)
	must(t, err)
	must(t, p.stdin.Close())
	code = p.wait()
	return code, p.out.String(), p.err.String()
}

func TestCommandsPrintTheSameOverTheAdminAPI(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.allowApply()
	d.edit("introspect: all", "introspect: all\n        scopes: [ssf.read]", "\n    clients:", `
    event_destinations:
      - { id: hooks, type: webhook, url: "https://hooks.example.com", paused: true, secret: whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= }
      - { id: polled, type: set_poll, client: backend, paused: true }
    clients:`)
	operator := d.operator("owner")
	for range 3 {
		d.signIn(operator.server, "alice")
	}
	d.signIn(operator.server, "bob")
	sid := strings.Fields(strings.Split(d.run("sessions", "list", "--user", "bob"), "\n")[1])[0]
	for _, ref := range []string{"user carol", "user dave", "client later", "issuer https://later.example.com", "tenant later"} {
		d.run(append([]string{"suspend", "--reason", "an exercise"}, strings.Fields(ref)...)...)
	}
	for _, line := range []string{
		"users list", "users list --json --prefix al", "users show alice", "users list --prefix nobody",
		"keys list", "keys list --json",
		"admin-keys list", "admin-keys list --all --json",
		"sessions list", "sessions list --json --state active --limit 2", "sessions list --user nobody", "sessions show " + sid, "sessions show --json " + sid,
		"events list", "events list --json --type session. --user alice --limit 2", "events list --type nothing", "events list --deployment",
		"destinations list", "destinations list --json", "destinations deliveries hooks", "destinations deliveries --json --state dead hooks",
		"destinations redeliver hooks --dead", "destinations enable hooks",
		"suspend client web --dry-run", "suspend user nobody --dry-run",
		"suspend --list", "suspend --list --tenant default", "suspend --list --tenant none",
		"apply --dry-run -f " + d.file,
	} {
		t.Run(line, func(t *testing.T) {
			remote := operator.run(strings.Fields(line)...)
			local := d.run(strings.Fields(line)...)
			hour := regexp.MustCompile(`last_used_at": "[^"]*"`) // using the key was recorded in between
			if local, remote = hour.ReplaceAllString(local, ""), hour.ReplaceAllString(remote, ""); local != remote || local == "" {
				t.Errorf("locally\n%sover the admin API\n%s", local, remote)
			}
		})
	}
	for _, line := range []string{
		"users show nobody", "sessions show nothing", "keys retire nothing", "admin-keys revoke nothing", "users list --tenant none", "sessions list --tenant none",
		"resume user alice", "sessions list --ip nowhere", "events list --cursor nonsense",
		"destinations list --tenant none", "destinations test nothing", "destinations deliveries nothing", "destinations redeliver --dead nothing",
		"destinations redeliver --since 1h nothing", "destinations enable nothing", "destinations secret nothing",
		"destinations test polled", "destinations secret hooks", "destinations deliveries hooks --state waiting --cursor nonsense",
	} {
		t.Run(line, func(t *testing.T) {
			args := strings.Fields(line)
			_, _, local := run(t, nil, append(args, "--config", d.file)...)
			_, _, remote := run(t, operator.env(), args...)
			until := regexp.MustCompile(`until [0-9T:-]+Z`) // of the secret before, a day from each command
			local, remote = until.ReplaceAllString(local, "until"), until.ReplaceAllString(remote, "until")
			if remote = strings.Replace(remote, ", or the admin key is not for the tenant", "", 1); local != remote || local == "" {
				t.Errorf("locally\n%sover the admin API\n%s", local, remote)
			}
		})
	}
}

func TestAnOperatorActsOverTheAdminAPI(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.allowApply()
	operator := d.operator("owner")
	s := operator.server
	a := d.signIn(s, "alice")
	printed := operator.run("suspend", "user", "alice", "--reason", "stolen phone")
	for _, want := range []string{"1 live session of user alice of tenant default ends.\n", "Suspended user alice of tenant default.\n", "To lift the suspension: latchkey resume user alice\n"} {
		if !strings.Contains(printed, want) {
			t.Errorf("suspend does not print %q:\n%s", want, printed)
		}
	}
	if r := s.refresh(a.text("refresh_token")); r.status != 400 {
		t.Errorf("the session is refreshed: %d", r.status)
	}
	if printed := operator.run("suspend", "user", "alice"); !strings.Contains(printed, "User alice of tenant default is already suspended since ") || !strings.Contains(printed, ": stolen phone.\n") {
		t.Errorf("suspended twice, it prints\n%s", printed)
	}
	if printed := operator.run("resume", "user", "alice"); !strings.HasPrefix(printed, "Resumed user alice of tenant default. It was suspended since ") {
		t.Errorf("resume prints\n%s", printed)
	}
	operator.run("suspend", "user", "mallory", "--reason", "a bot")
	if list := operator.run("suspend", "--list"); strings.Count(list, "\n") != 2 || !strings.Contains(list, "(does not exist; digest ") || !strings.Contains(list, "owner's") || !strings.Contains(list, "a bot") {
		t.Errorf("suspend --list prints\n%s", list)
	}

	// A client token of the second of the suspension is refused, also after it.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	for range 3 {
		d.signIn(s, "alice")
	}
	sid := strings.Fields(strings.Split(operator.run("sessions", "list", "--state", "active"), "\n")[1])[0]
	if printed := operator.run("sessions", "end", sid); printed != "Ended session "+sid+".\n" {
		t.Errorf("sessions end prints\n%s", printed)
	}
	operator.rejects([]string{"sessions", "end", "--user", "alice", "--confirm", "1"}, "2 sessions would end, but confirm is 1; none was ended")
	if printed := operator.run("sessions", "end", "--user", "alice", "--client", "web", "--confirm", "2"); printed != "2 sessions ended.\n" {
		t.Errorf("sessions end prints\n%s", printed)
	}
	if printed := operator.run("users", "delete", "alice"); !strings.HasPrefix(printed, "Deleted user alice of tenant default. 0 sessions ended. In the event log, deleted-") {
		t.Errorf("users delete prints\n%s", printed)
	}

	if printed := operator.run("keys", "rotate"); !regexp.MustCompile(`^Announced \S+ \(ES256\)\. It signs from \S+Z\.\n$`).MatchString(printed) {
		t.Errorf("keys rotate prints\n%s", printed)
	}
	operator.rejects([]string{"keys", "rotate"}, "is already announced and starts to sign at ")
	active := strings.Fields(strings.Split(operator.run("keys", "list"), "\n")[1])[0]
	if printed := operator.run("keys", "retire", active); !strings.HasPrefix(printed, "Retired "+active+". ") {
		t.Errorf("keys retire prints\n%s", printed)
	}

	code, made, told := run(t, operator.env(), "admin-keys", "create", "--name", "report", "--role", "viewer", "--tenant", "default", "--expires", "1d")
	if code != 0 || !strings.HasPrefix(made, "lk_ak_") || strings.Count(made, "\n") != 1 || !strings.Contains(told, "The key has the id ") {
		t.Fatalf("admin-keys create: exit code %d\n%s", code, told)
	}
	id := regexp.MustCompile(`id (\w+)\.`).FindStringSubmatch(told)[1]
	viewer := operator.with(strings.TrimSpace(made))
	viewer.rejects([]string{"users", "delete", "bob"}, "Not allowed: the role viewer does not include this operation")
	viewer.rejects([]string{"admin-keys", "list"}, "Not allowed")
	if printed := operator.run("admin-keys", "revoke", id); printed != "Revoked "+id+".\n" {
		t.Errorf("admin-keys revoke prints\n%s", printed)
	}
	viewer.rejects([]string{"users", "list"}, "The admin key is not valid: it is unknown, revoked or expired")
	operator.rejects([]string{"admin-keys", "create", "--name", "x", "--role", "king"}, "role: must be owner, admin, support or viewer")
}

func TestApplyWorksOverTheAdminAPI(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	operator := d.operator("owner")
	folder := t.TempDir()
	file := filepath.Join(folder, "tenants.yaml")
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600)) }
	const partner = "a-secret-of-the-partner-of-this-app-0123456789"
	write("partner-secret", partner+"\n")
	write("tenants.yaml", "issuer: https://ignored.example.com\ntenants:\n- id: default\n  clients:\n  - { id: partner, auth: secret, secret_file: partner-secret, grants: &g [client-credentials] }\n  - { id: other, auth: secret, secret_file: partner-secret, grants: *g }\n")
	const difference = "+ default/client partner\n    auth: \"secret\"\n    grants: [\"client-credentials\"]\n"
	planned := operator.run("apply", "-f", file, "--dry-run")
	if !strings.HasPrefix(planned, difference) || !strings.HasSuffix(planned, "2 changes planned. This was a dry run: nothing was changed.\n") {
		t.Errorf("a dry run prints\n%s", planned)
	}
	if made := operator.run("apply", "-f", file); made != strings.Replace(planned, "2 changes planned. This was a dry run: nothing was changed.", "2 changes made.", 1) || strings.Contains(made, partner) {
		t.Errorf("apply makes\n%sits dry run printed\n%s", made, planned)
	}
	token := operator.server.post("/token", []string{"grant_type", "client_credentials"}, basic("partner", partner))
	if token.status != 200 {
		t.Errorf("the secret in the file is rejected: %d %s", token.status, token.body)
	}
	if again := operator.run("apply", "-f", file); again != "No changes.\n" {
		t.Errorf("again:\n%s", again)
	}

	operator.rejects([]string{"apply", "-f", d.file}, "is managed by the file of") // that of serve
	operator.rejects([]string{"apply"}, "no file given: use -f")
	operator.rejects([]string{"apply", "-f", file, "--reset-revision"}, "run it on the server, without --server")
	operator.with(d.adminKey("viewer")).rejects([]string{"apply", "-f", file}, "Not allowed: the role viewer does not include this operation")
	operator.with(d.adminKey("admin", "--tenant", "default")).rejects([]string{"apply", "-f", d.file}, "only a key with the role owner may")
	for name, c := range map[string]struct{ text, want string }{
		"a file that is missing":  {"tenants: [{id: default, clients: [{id: p, auth: secret, secret_file: absent}]}]", "tenants[0].clients[0].secret_file: cannot be read: absent: no such file or directory"},
		"an unknown key":          {"tenants: [{id: default, clients: [{id: p, colour: red}]}]", "tenants[0].clients[0].colour: unknown key"},
		"what the server refuses": {"tenants: [{id: default, clients: [{id: p, auth: none, claims: {a: \"user.\"}}]}]", "/tenants/0/clients/0/claims/a: "},
	} {
		t.Run(name, func(t *testing.T) {
			write("tenants.yaml", c.text)
			operator.rejects([]string{"apply", "-f", file}, c.want)
		})
	}
}

func TestApplyOverTheAdminAPIChecksTheIssuersThatItChanges(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	operator := d.operator("owner")
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`{"issuer":"http://` + r.Host + `/","jwks_uri":"http://` + r.Host + `/keys"}`))
	}))
	defer provider.Close()
	absent := httptest.NewServer(nil)
	absent.Close()
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	entry := func(id, url string) string {
		return `      - { id: ` + id + `, issuer: "` + url + `", token_type: jwt, algorithms: [ES256], keys: { discovery: true }, allow_private_addresses: true, subject_prefix: "` + id + `:" }` + "\n"
	}
	must(t, os.WriteFile(file, []byte("tenants:\n  - id: default\n    trusted_issuers:\n"+entry("wrong", provider.URL)+entry("absent", absent.URL)), 0o600))
	const warning, note = "Warning: trusted issuer default/wrong: issuer in the discovery document does not match the configuration", "Note: trusted issuer default/absent was not checked: "
	for _, c := range []struct {
		args   []string
		prints bool
	}{{[]string{"--dry-run"}, false}, {nil, true}, {nil, false}} { // the last one changes nothing
		code, stdout, stderr := run(t, operator.env(), append([]string{"apply", "-f", file}, c.args...)...)
		if code != 0 || strings.Contains(stderr, warning) != c.prints || strings.Contains(stderr, note) != c.prints {
			t.Errorf("apply %v: exit code %d\n%s%s", c.args, code, stdout, stderr)
		}
	}
}

func TestEventsAreFollowedOverTheAdminAPIAndLocally(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	operator := d.operator("viewer")
	args := []string{"events", "follow", "--type", "session.", "--json"}
	followers := []*process{start(t, operator.env(), args...), start(t, nil, append(args, "--config", d.file)...)}
	for _, p := range followers {
		eventually(t, "it follows", func() bool {
			d.signIn(operator.server, "alice") // the beginning cannot be seen from outside
			return within(2*time.Second, func() bool { return strings.Contains(p.out.String(), `"user":"alice"`) })
		})
		p.signal(os.Interrupt)
		if code := p.wait(); code != 0 {
			t.Errorf("interrupted, it exits with %d\n%s", code, p.err.String())
		}
		for line := range strings.Lines(p.out.String()) {
			var e struct{ Type, User, Session string }
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Type != "session.created" || e.Session == "" {
				t.Errorf("it prints %s", line)
			}
		}
	}
	support := operator.with(d.adminKey("support"))
	support.rejects([]string{"events", "follow"}, "Not allowed: the role support does not include this operation")
	operator.rejects([]string{"events", "follow", "--tenant", "none"}, `there is no tenant "none", or the admin key is not for the tenant`)
}

func TestExplainReadsTheTokenFromWhereItIs(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	operator := d.operator("admin")
	token := d.clientToken("alice", map[string]any{"plan": "pro"})
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	explained := operator.run("explain", "--client", "web", "--token-file", file)
	for _, want := range []string{": passed\n", "\nThe exchange would succeed.\nThe token is of user alice, by trusted issuer " + d.issuerID() + ".\n", "  plan: \"pro\"\n"} {
		if !strings.Contains(explained, want) {
			t.Errorf("explain does not print %q:\n%s", want, explained)
		}
	}
	if strings.Contains(explained, token) {
		t.Error("it prints the token")
	}
	same := func(how, printed string) {
		t.Helper()
		moments := regexp.MustCompile(`\d{10}|"(jti|sid)?": ".*"|  (jti|sid): .*`)
		if moments.ReplaceAllString(printed, "") != moments.ReplaceAllString(explained, "") {
			t.Errorf("%s, it prints\n%sotherwise\n%s", how, printed, explained)
		}
	}
	same("from an argument", operator.run("explain", "--client", "web", token))
	same("locally", d.run("explain", "--client", "web", "--token-file", file))
	code, printed, stderr := runWith(t, token+"\n", operator.env(), "explain", "--client", "web")
	if same("from standard input", printed); code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if rejected := operator.run("explain", "--client", "web", token[:len(token)-9]+"AAAAAAAAA"); !strings.Contains(rejected, "! signature: failed\n") || !strings.Contains(rejected, "The exchange would be rejected.") {
		t.Errorf("a bad signature: explain prints\n%s", rejected)
	}
	masked := operator.with(d.adminKey("support")).run("explain", "--client", "web", "--token-file", file)
	if !strings.Contains(masked, "may not see the values") || strings.Contains(masked, `"pro"`) {
		t.Errorf("for support it prints\n%s", masked)
	}
	operator.with(d.adminKey("viewer")).rejects([]string{"explain", "--client", "web", token}, "Not allowed: the role viewer does not include this operation")
	operator.rejects([]string{"explain", token}, "--client is missing")
	operator.rejects([]string{"explain", "--client", "web", "--token-file", file, token}, "either as an argument or with --token-file")
	operator.rejects([]string{"explain", "--client", "web", "--token-file", os.DevNull}, "the client token is empty")
}

func TestTheAdminKeyComesFromTheEnvironmentOrAFile(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	operator := d.operator("owner")
	file := filepath.Join(t.TempDir(), "admin-key")
	must(t, os.WriteFile(file, []byte(operator.key+"\n"), 0o600))
	server := []string{"--server", operator.server.url}
	for name, c := range map[string]struct {
		stdin string
		env   []string
		args  []string
		want  string // in the error; empty: it succeeds
	}{
		"in the environment":    {"", []string{"LATCHKEY_ADMIN_KEY=" + operator.key}, server, ""},
		"in a file":             {"", nil, append(server, "--key-file", file), ""},
		"on standard input":     {operator.key + "\n", nil, append(server, "--key-file", "-"), ""},
		"a file wins":           {"", []string{"LATCHKEY_ADMIN_KEY=lk_ak_wrong"}, append(server, "--key-file", file), ""},
		"nowhere":               {"", nil, server, "no admin key: set LATCHKEY_ADMIN_KEY, or name a file with --key-file"},
		"in a file that is not": {"", nil, append(server, "--key-file", file+"x"), "read the admin key: open "},
		"without a server":      {"", nil, []string{"--key-file", file}, "--key-file needs --server"},
		"that is wrong":         {"", []string{"LATCHKEY_ADMIN_KEY=lk_ak_wrong"}, server, "The admin key is not valid: it is unknown, revoked or expired"},
		"that is not a key":     {"", []string{"LATCHKEY_ADMIN_KEY=a b"}, server, "invalid Key: expected one admin key"},
		"over plain http":       {"", []string{"LATCHKEY_ADMIN_KEY=" + operator.key}, []string{"--server", "http://192.0.2.1"}, "expected https, because the admin key is sent there"},
	} {
		t.Run(name, func(t *testing.T) {
			code, printed, stderr := runWith(t, c.stdin, c.env, append([]string{"users", "list"}, c.args...)...)
			if (code == 0) != (c.want == "") || !strings.Contains(stderr, c.want) || strings.Contains(printed+stderr, operator.key) {
				t.Errorf("exit code %d\n%s%s", code, printed, stderr)
			}
		})
	}
	printed := operator.run("suspend", "client", "other", "--server", operator.server.url+"/", "--key-file", file)
	if want := "latchkey resume client other --server " + operator.server.url + "/ --key-file " + file + "\n"; !strings.Contains(printed, want) {
		t.Errorf("suspend does not print %q:\n%s", want, printed)
	}
	operator.server.signal(os.Interrupt)
	operator.server.wait()
	operator.rejects([]string{"suspend", "client", "web"}, "connection refused")
}

// What is in the arguments of a process, every user of the machine can read.
func TestHelpShowsNoSecretInArguments(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if strings.Contains(c.Example, "lk_ak_") || regexp.MustCompile(`explain .*(TOKEN|eyJ)`).MatchString(c.Example) {
			t.Errorf("%s: the examples are\n%s", c.CommandPath(), c.Example)
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newCommand())
}
