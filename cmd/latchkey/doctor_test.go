package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
)

// examined runs the doctor in this process and returns its findings.
func (d *deployment) examined(options ...func(*doctor)) []finding {
	d.t.Helper()
	doctor := doctor{flags: &sharedFlags{path: d.file}, timeout: feedTimeout}
	for _, option := range options {
		option(&doctor)
	}
	doctor.examine(d.t.Context())
	return doctor.findings
}

// expose lets other users reach a file of the deployment.
func (d *deployment) expose(name string, mode os.FileMode) {
	d.t.Helper()
	must(d.t, os.Chmod(filepath.Join(d.folder, name), mode))
	for folder := d.folder; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		must(d.t, os.Chmod(folder, 0o711))
	}
}

// started changes the database as a start does, without serving.
func (d *deployment) started() {
	d.t.Helper()
	c, err := (&sharedFlags{path: d.file}).load(config.ForServe)
	must(d.t, err)
	n, err := newNode(d.t.Context(), c, quiet)
	must(d.t, err)
	must(d.t, n.store.Close())
}

// wantFinding requires a finding of the check that contains all of the words.
func wantFinding(t testing.TB, findings []finding, result, check string, words ...string) {
	t.Helper()
	for _, f := range findings {
		if f.Result != result || f.Check != check {
			continue
		}
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(f.Text, word) }) {
			return
		}
	}
	t.Errorf("no %s of %s contains %q, but\n%s", result, check, words, findingsText(findings))
}

func findingsText(findings []finding) string {
	var text strings.Builder
	_ = printFindings(&text, findings) // writing to memory does not fail
	return text.String()
}

func TestDoctorFindsNoFaultInAHealthyDeployment(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	d.serve()
	code, out, stderr := run(t, nil, "doctor", "--config", d.file, "--json")
	var findings []finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, stderr)
	}
	for _, f := range findings {
		if f.Result != isOK && f.Check != "public" {
			t.Errorf("%s %s: %s", f.Result, f.Check, f.Text)
		}
	}
	wantFinding(t, findings, isOK, "configuration", d.file)
	wantFinding(t, findings, isOK, "files", "other users cannot read the 3 files with secrets")
	wantFinding(t, findings, isOK, "listen", "is free")
	wantFinding(t, findings, isOK, "database", "SQLite 3.", "writable")
	wantFinding(t, findings, isOK, "clock")
	wantFinding(t, findings, isOK, "schema", models.NewestMigration())
	wantFinding(t, findings, isOK, "root secrets", "is in use for issuing")
	wantFinding(t, findings, isOK, "signing keys", "1 tenant can sign")
	wantFinding(t, findings, isOK, "issuers", d.issuerID(), "can be verified")
	wantFinding(t, findings, isOK, "file", "the database matches")
	wantFinding(t, findings, isSkipped, "public", "--url")

	d.expose("root-secret", 0o666)
	code, out, stderr = run(t, nil, "doctor", "--config", d.file)
	if code != 1 || !strings.Contains(out, "fault") || !strings.Contains(stderr, "1 fault found") {
		t.Errorf("with a fault: exit code %d\n%s%s", code, out, stderr)
	}
}

func TestDoctorChangesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "absent.db")
	d := newDeployment(t, "sqlite:"+path)
	findings := d.examined()
	wantFinding(t, findings, isOK, "database", "does not exist yet")
	wantFinding(t, findings, isOK, "issuers", d.issuerID()) // in a file that no server has applied
	if _, err := os.Stat(path); err == nil {
		t.Error("it created the database")
	}
	empty := testdb.EmptyPostgres(t)
	d = newDeployment(t, empty)
	wantFinding(t, d.examined(), isOK, "schema", "the database is empty")
	if n := count(t, empty, "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()"); n != 0 {
		t.Errorf("it created %d tables", n)
	}
}

// Each deployment has one fault, which the doctor reports.
func TestDoctorReportsFaults(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		must(t, json.NewEncoder(w).Encode(map[string]any{"issuer": "https://login.example.com/", "jwks_uri": "https://login.example.com/keys", "authorization_endpoint": "x", "token_endpoint": "x"}))
	}))
	defer foreign.Close()
	const beside = "\n        subject_prefix: \"far:\"" // the stored entry stays
	withTLS := func(d *deployment, host string) {
		certificate, key := selfSigned(t)
		d.write("cert.pem", certificate)
		d.write("key.pem", key)
		d.edit("issuer: "+baseIssuer, "issuer: https://"+host, "metrics_listen: none", "metrics_listen: none\ntls: { cert_file: cert.pem, key_file: key.pem }")
	}
	for name, c := range map[string]struct {
		fault         func(d *deployment) // called after a first start
		result, check string
		words         []string
	}{
		"an unknown key": {func(d *deployment) { d.edit("listen: 127", "listne: 127") },
			isFault, "configuration", []string{"listne", "unknown key", "listen"}},
		"a claim that nothing yields": {func(d *deployment) { d.edit("claims: { plan: user.plan }", "claims: { plan: user.plam }"); d.started() },
			isWarning, "claims", []string{"client web of tenant default", "claim plan", "user.plam", "over the API"}},
		"a root secret that others can read": {func(d *deployment) { d.expose("root-secret", 0o644) },
			isWarning, "files", []string{"can read", "root-secret (secret_file)", "chmod 600"}},
		"a client secret that others can change": {func(d *deployment) { d.expose("backend-secret", 0o622) },
			isFault, "files", []string{"can change", "tenants[0].clients[1].secret_file"}},
		"a secret in a file that others can read": {func(d *deployment) {
			d.edit("secret_file: root-secret", "secret: "+testserver.RootSecret)
			d.expose("latchkey.yaml", 0o644)
		}, isWarning, "files", []string{"can read", "latchkey.yaml (configuration)"}},
		"an address that another program uses": {func(d *deployment) { d.edit("127.0.0.1:0", taken.Addr().String()) },
			isFault, "listen", []string{taken.Addr().String(), "another program"}},
		"a metrics address that another program uses": {func(d *deployment) { d.edit("metrics_listen: none", "metrics_listen: "+taken.Addr().String()) },
			isFault, "metrics_listen", []string{"in use"}},
		"an admin address that another program uses": {func(d *deployment) { d.edit("admin_listen: none", "admin_listen: "+taken.Addr().String()) },
			isFault, "admin_listen", []string{"in use"}},
		"an admin address of the network without TLS": {func(d *deployment) { d.edit("admin_listen: none", "admin_listen: 0.0.0.0:0") },
			isFault, "configuration", []string{"admin_listen", "plain HTTP"}},
		"an admin address for a proxy": {func(d *deployment) { d.edit("admin_listen: none", "admin_listen: 0.0.0.0:0\nbehind_proxy: true") },
			isOK, "admin_listen", []string{"is free", "plain HTTP", "only the proxy"}},
		"an admin address with TLS": {func(d *deployment) {
			withTLS(d, "localhost")
			d.edit("admin_listen: none", "admin_listen: 0.0.0.0:0")
		}, isOK, "admin_listen", []string{"is free", "HTTPS"}},
		"the admin API at the address of listen": {func(d *deployment) { d.edit("admin_listen: none", "admin_listen: 127.0.0.1:0") },
			isOK, "admin_listen", []string{"at listen"}},
		"a certificate for another host": {func(d *deployment) { withTLS(d, "id.example.com") },
			isFault, "tls", []string{"cert.pem", "not valid for the host of issuer", "id.example.com"}},
		"a certificate that expires soon": {func(d *deployment) { withTLS(d, "localhost") },
			isWarning, "tls", []string{"cert.pem", "expires at", "renew"}},
		"a certificate with another key": {func(d *deployment) {
			withTLS(d, "localhost")
			_, key := selfSigned(t)
			d.write("key.pem", key)
		}, isFault, "tls", []string{"does not match"}},
		"a private key that is missing": {func(d *deployment) {
			withTLS(d, "localhost")
			must(t, os.Remove(filepath.Join(d.folder, "key.pem")))
		}, isFault, "tls", []string{"key.pem"}},
		"a folder that does not exist": {func(d *deployment) { d.edit(`url: "sqlite:`, `url: "sqlite:/nowhere`) },
			isFault, "database", []string{"folder", "does not exist"}},
		"an issuer with another name": {func(d *deployment) { d.edit("- issuer: "+d.issuer.URL, "- issuer: "+foreign.URL+beside) },
			isFault, "issuers", []string{`expected "` + foreign.URL + `", received "https://login.example.com/"`, "set issuer exactly"}},
		"an issuer that does not respond": {func(d *deployment) { d.edit("- issuer: "+d.issuer.URL, "- issuer: http://127.0.0.1:1"+beside) },
			isFault, "issuers", []string{"127-0-0-1-1", "cannot be fetched"}},
		"an algorithm without a key": {func(d *deployment) { d.edit("algorithms: [ES256]", "algorithms: [RS256]"); d.started() },
			isFault, "issuers", []string{"127-0-0-1-", "expected RS256", "set algorithms"}},
		"the root secret of another deployment": {func(d *deployment) { d.write("root-secret", keys.NewRootSecret()) },
			isFault, "root secrets", []string{"does not match this database"}},
		"an unused root secret": {func(d *deployment) {
			d.write("root-secret", keys.NewRootSecret()+"\n"+testserver.RootSecret)
			d.started()
		}, isWarning, "root secrets", []string{"nothing depends on", "remove it"}},
		"an older revision": {func(d *deployment) {
			d.edit("metrics_listen: none", "metrics_listen: none\nrevision: 2")
			d.started()
			d.edit("revision: 2", "revision: 1")
		}, isWarning, "file", []string{"its revision is 1", "revision 2 was applied last"}},
		"a file that differs from that of another node": {func(d *deployment) { d.edit("refresh_grace: 60s", "refresh_grace: 30s") },
			isWarning, "file", []string{"differs from the one that was applied last", "revision"}},
		"a proxy that is not trusted": {func(d *deployment) { d.edit("metrics_listen: none", "metrics_listen: none\nbehind_proxy: true") },
			isWarning, "proxy", []string{"trusted_proxies is empty", "X-Forwarded-For"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeployment(t, testdb.SQLite(t))
			d.started()
			c.fault(d)
			wantFinding(t, d.examined(), c.result, c.check, c.words...)
		})
	}
}

func TestDoctorRecognizesARunningAdminAPI(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, free.Close())
	d := newDeployment(t, testdb.SQLite(t))
	d.edit("admin_listen: none", "admin_listen: "+free.Addr().String())
	wantFinding(t, d.examined(), isOK, "admin_listen", free.Addr().String(), "is free", "only this machine", "localhost:8080")
	d.serve()
	wantFinding(t, d.examined(), isOK, "admin_listen", "a server serves the admin API", free.Addr().String())
	d.edit("issuer: "+baseIssuer, "issuer: https://id.example.com", "metrics_listen: none", "metrics_listen: none\nbehind_proxy: true")
	wantFinding(t, d.examined(), isWarning, "admin_listen", "rejects requests with the host of issuer", "another configuration")
}

func TestDoctorReportsFaultsOfPostgres(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newDeployment(t, url)
	d.started()
	name := url[strings.LastIndex(url, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	for _, f := range d.examined() {
		if f.Result == isFault || f.Result == isWarning && f.Check != "connections" { // other tests use connections
			t.Errorf("healthy: %s %s: %s", f.Result, f.Check, f.Text)
		}
	}
	for _, c := range []struct {
		what          string
		fault, repair string // statements
		edit          []string
		result, check string
		words         []string
	}{
		{what: "a later schema", fault: "INSERT INTO migrations (id) VALUES ('9999_later')", repair: "DELETE FROM migrations WHERE id = '9999_later'",
			result: isWarning, check: "schema", words: []string{"newer than this release", "9999_later"}},
		{what: "an older schema", fault: "UPDATE migrations SET id = '0000_none' WHERE id = '" + models.NewestMigration() + "'",
			repair: "UPDATE migrations SET id = '" + models.NewestMigration() + "' WHERE id = '0000_none'",
			result: isWarning, check: "schema", words: []string{"older than this release", models.NewestMigration()}},
		{what: "a key that cannot be opened", fault: `UPDATE signing_keys SET sealed = '\x00'`,
			result: isFault, check: "signing keys", words: []string{"tenant default", "signing key"}},
		{what: "no key at all", fault: "DELETE FROM signing_keys",
			result: isFault, check: "signing keys", words: []string{"tenant default", "no active signing key"}},
		{what: "too many connections", edit: []string{`"postgres:`, `"postgres:`, " }\nlisten", ", max_connections: 1000 }\nlisten"},
			result: isFault, check: "connections", words: []string{"1001", "lower database.max_connections"}},
		{what: "a standby", fault: "ALTER DATABASE " + name + " SET default_transaction_read_only = on",
			result: isFault, check: "database", words: []string{"read-only", "standby", "primary"}},
		{what: "a database that does not exist", edit: []string{name, "no_such_database"},
			result: isFault, check: "database", words: []string{"does not exist", "create the database"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := d.text()
			if c.fault != "" {
				statement(t, url, c.fault)
			}
			d.edit(c.edit...)
			wantFinding(t, d.examined(), c.result, c.check, c.words...)
			d.write("latchkey.yaml", before)
			if c.repair != "" {
				statement(t, url, c.repair)
			}
		})
	}
}

func TestDoctorReportsASharedSecretThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newDeployment(t, url)
	d.edit("algorithms: [ES256]\n        keys: { discovery: true }", "keys: { shared_secret: "+strings.Repeat("s", 40)+" }")
	d.started()
	wantFinding(t, d.examined(), isOK, "issuers", d.issuerID())
	statement(t, url, `UPDATE trusted_issuers SET sealed_secret = '\x00'`)
	wantFinding(t, d.examined(), isFault, "issuers", d.issuerID())
}

func TestDoctorComparesClocks(t *testing.T) {
	t.Parallel()
	for offset, result := range map[time.Duration]string{0: isOK, 3 * time.Second: isWarning, -time.Minute: isFault} {
		store, err := models.Open(t.Context(), testdb.Postgres(t), models.Options{Clock: func() time.Time { return time.Now().Add(offset) }, Log: quiet})
		must(t, err)
		d := doctor{}
		d.clock(store)
		must(t, store.Close())
		wantFinding(t, d.findings, result, "clock")
	}
}

func TestDoctorDetectsAProxyByTheAddressesOfSessions(t *testing.T) {
	for name, c := range map[string]struct {
		addresses map[string]int
		proxies   []string
		result    string
		words     string
	}{
		"all from one private address":  {map[string]int{"10.0.0.5": 40}, nil, isWarning, "all 40 sessions"},
		"a few sessions prove nothing":  {map[string]int{"10.0.0.5": 2}, nil, "", ""},
		"one public address":            {map[string]int{"192.0.2.7": 40}, nil, "", ""},
		"addresses that a proxy passes": {map[string]int{"192.0.2.7": 3, "192.0.2.8": 4}, []string{"10.0.0.0/8"}, isOK, "from 2 different addresses"},
		"one that a proxy passes":       {map[string]int{"192.0.2.7": 40}, []string{"10.0.0.0/8"}, isOK, "from one address"},
	} {
		d := doctor{config: &config.Config{TrustedProxies: c.proxies}}
		d.proxyAddress(c.addresses)
		if c.result == "" && len(d.findings) > 0 {
			t.Errorf("%s: %s", name, findingsText(d.findings))
		} else if c.result != "" {
			wantFinding(t, d.findings, c.result, "proxy", c.words)
		}
	}
}
