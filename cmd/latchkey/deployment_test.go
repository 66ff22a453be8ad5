package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

// baseIssuer is the base URL of every deployment. No process listens there: each has
// its own address, as behind a proxy.
const baseIssuer = "http://localhost:8080"

const deployed = `
issuer: ` + baseIssuer + `
secret_file: root-secret
database: { url: "$DATABASE" }
listen: 127.0.0.1:0
metrics_listen: none
admin_listen: none
shutdown_delay: 0s
tenants:
  - id: default
    signing_algorithm: ES256
    trusted_issuers:
      - issuer: $ISSUER
        token_type: jwt
        algorithms: [ES256]
        keys: { discovery: true }
        allow_private_addresses: true
        user_attributes: { plan: token.plan }
    clients:
      - id: web
        auth: none
        grants: [token-exchange, refresh]
        refresh_grace: 60s
        claims: { plan: user.plan }
      - id: backend
        auth: secret
        secret_file: backend-secret
        grants: [client-credentials]
        introspect: all
`

// deployment is the set-up of an operator: a configuration file, files with secrets, a
// database, and a trusted authentication service.
type deployment struct {
	t      testing.TB
	folder string
	file   string // the configuration
	issuer *testserver.Issuer
	races  bool // its servers run with the race detector
}

func newDeployment(t testing.TB, databaseURL string) *deployment {
	t.Helper()
	folder := t.TempDir()
	d := &deployment{t: t, folder: folder, file: filepath.Join(folder, "latchkey.yaml"), issuer: testserver.NewIssuer(t, testserver.NewClock())}
	d.write("root-secret", testserver.RootSecret+"\n")
	d.write("backend-secret", testserver.ClientSecret+"\n")
	d.write("latchkey.yaml", strings.NewReplacer("$DATABASE", databaseURL, "$ISSUER", d.issuer.URL).Replace(deployed))
	return d
}

// newRaceDeployment is newDeployment for tests in which a server does several things
// at the same time: its servers run with the race detector.
func newRaceDeployment(t testing.TB, databaseURL string) *deployment {
	t.Helper()
	d := newDeployment(t, databaseURL)
	d.races = true
	return d
}

func (d *deployment) write(name, text string) {
	d.t.Helper()
	must(d.t, os.WriteFile(filepath.Join(d.folder, name), []byte(text), 0o600))
}

// text returns the configuration file.
func (d *deployment) text() string {
	d.t.Helper()
	text, err := os.ReadFile(d.file)
	must(d.t, err)
	return string(text)
}

// edit replaces texts in the configuration file, given as old, new, …
func (d *deployment) edit(oldNew ...string) {
	d.t.Helper()
	text := d.text()
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(text, oldNew[i]) {
			d.t.Fatalf("the configuration does not contain %q", oldNew[i])
		}
	}
	d.write("latchkey.yaml", strings.NewReplacer(oldNew...).Replace(text))
}

// run runs a command with the configuration, and requires it to succeed.
func (d *deployment) run(args ...string) (stdout string) {
	d.t.Helper()
	code, stdout, stderr := run(d.t, nil, append(args, "--config", d.file)...)
	if code != 0 {
		d.t.Fatalf("latchkey %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// rejects runs a command with the configuration, and requires it to fail with all of
// the sentences.
func (d *deployment) rejects(args []string, sentences ...string) {
	d.t.Helper()
	code, stdout, stderr := run(d.t, nil, append(args, "--config", d.file)...)
	if code != 1 {
		d.t.Errorf("latchkey %s: exit code %d, want 1\n%s", strings.Join(args, " "), code, stdout)
	}
	for _, sentence := range sentences {
		if !strings.Contains(stderr, sentence) {
			d.t.Errorf("latchkey %s does not print %q but\n%s", strings.Join(args, " "), sentence, stderr)
		}
	}
}

// start starts a server without waiting for it.
func (d *deployment) start(env ...string) *server {
	d.t.Helper()
	if d.races {
		env = append(env, detectRaces)
	}
	return &server{process: start(d.t, env, "serve", "--config", d.file), scheme: "http"}
}

// serve starts a server and waits until it is ready.
func (d *deployment) serve(env ...string) *server {
	d.t.Helper()
	s := d.start(env...)
	s.untilReady()
	return s
}

// clientToken returns a new client token of the authentication service.
func (d *deployment) clientToken(sub string, claims map[string]any) string {
	now := *d.issuer // its own clock does not move
	now.Clock = testserver.NewClock()
	return now.Token(baseIssuer, sub, claims)
}

// signIn opens a session of the client "web".
func (d *deployment) signIn(at *server, sub string) *response {
	d.t.Helper()
	a := at.exchange(d.clientToken(sub, nil))
	if a.status != 200 || a.text("refresh_token") == "" {
		d.t.Fatalf("sign in %s: %d %s", sub, a.status, a.body)
	}
	return a
}

// waitServing waits until the server has logged its address.
func (s *server) untilServing() {
	s.t.Helper()
	eventually(s.t, "serving", func() bool {
		for line := range strings.Lines(s.err.String()) {
			var entry struct{ Msg, Listen string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				s.url = s.scheme + "://" + entry.Listen
				return true
			}
		}
		if !s.running() {
			s.t.Fatalf("serve ended: %s", s.err.String())
		}
		return false
	})
}

func (s *server) untilReady() {
	s.t.Helper()
	s.untilServing()
	eventually(s.t, "ready", func() bool { return s.get("/readyz").status == 200 })
}

// issuerID returns the id of the issuer's entry, made from its host.
func (d *deployment) issuerID() string {
	return strings.NewReplacer("http://", "", ".", "-", ":", "-").Replace(d.issuer.URL)
}

// allowApply lets apply change the tenants that serve reads from the same file.
func (d *deployment) allowApply() { d.write("latchkey.yaml", "tenants_at_start: once\n"+d.text()) }
