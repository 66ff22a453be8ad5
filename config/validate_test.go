package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/config"
)

// documented is the example of the documentation, with a real secret.
const documented = `
issuer: https://id.example.com          # base URL, without a path; LATCHKEY_ISSUER
listen: 127.0.0.1:8080                  # LATCHKEY_LISTEN
behind_proxy: true                      # TLS ends at a proxy; otherwise give tls, or use a loopback issuer
database: { url: "sqlite:latchkey.db" } # or postgres://…; LATCHKEY_DATABASE_URL
secret: "` + rootSecret + `"            # root secret, or a list whose first one issues; LATCHKEY_SECRET (comma-separated)
tenants:
  - id: default                         # issuer = base URL; any other id: {base}/t/{id}
    trusted_issuers:
      - issuer: https://auth.example.com
        token_type: jwt                 # or id_token
        keys: { discovery: true }       # or jwks_uri, or jwks (inline), or pem, or shared_secret (HS256)
        audiences: ["https://id.example.com"]
        max_age: 5m
        subject: "token.sub"            # CEL
        user_attributes: { email: "token.email" }
        session_attributes: { device: "token.device_name" }
    clients:
      - id: web
        name: Web app
        auth: none                      # or secret (basic and post both accepted)
        grants: [token-exchange, refresh]
        preset: consumer                # consumer | high_security | mobile | aal2 | aal3, each field can be overridden
        access_token_ttl: 5m
        absolute_lifetime: 720h
        inactivity_timeout: 120h
        refresh_grace: 10s
        max_sessions_per_user: { limit: 10, when_full: end_oldest }   # or reject
        allow: "token.amr.exists(m, m in ['hwk','swk','otp'])"        # CEL, optional
        claims: { email: "user.email", plan: "has(user.plan) ? user.plan : 'free'" }
        scopes: [profile, orders:read]
        origins: ["https://app.example.com"]
    users:
      - { sub: alice, attributes: { email: alice@example.com, plan: pro } }
`

func TestValidateAcceptsTheDocumentedExample(t *testing.T) {
	c, faults := load(t, documented)
	expect(t, append(faults, c.Validate(config.ForServe)...))
	web := c.Tenants[0].Clients[0]
	if web.ID != "web" || web.MaxSessionsPerUser.Limit != 10 || web.Claims["plan"] != "has(user.plan) ? user.plan : 'free'" ||
		c.Tenants[0].Users[0].Attributes["plan"] != "pro" || !c.Tenants[0].TrustedIssuers[0].Keys.Discovery {
		t.Errorf("read as %+v", c.Tenants)
	}
}

func TestRevisionIsBounded(t *testing.T) {
	for revision, taken := range map[string]bool{"1": true, "9007199254740991": true, "9007199254740992": false, "9223372036854775807": false, "-1": false} {
		for _, use := range []config.Use{config.ForServe, config.ForApply} {
			c, faults := load(t, documented+"revision: "+revision+"\n")
			faults = append(faults, c.Validate(use)...)
			if taken {
				expect(t, faults)
			} else {
				expect(t, faults, "revision: must be a whole number between 1 and 9007199254740991 (the largest that every JSON tool represents exactly): increase it with every change of tenants")
			}
		}
	}
}

func TestValidateReportsEveryFaultAtOnce(t *testing.T) {
	c, faults := load(t, `
issuer: https://id.example.com/
listen: localhost
secret: short
colour: red
log: {level: loud}
database: {url: mysql://db, migrate: maybe}
trusted_proxies: [10.0.0.0/8, proxy]
tenants:
  - id: Default
    trusted_issuers:
      - issuer: https://auth.example.com
        token_type: saml
        keys: {discovery: true, jwks_uri: "https://auth.example.com/jwks"}
        max_age: 2d
        leeway: soon
    clients:
      - id: web
        auth: none
        grants: [refresh, password]
        acces_token_ttl: 5m
        claims: {sub: user.email, email: }
      - id: web
        auth: [secret]
    users:
      - {sub: web}
`, "LATCHKEY_METRICS_LISTEN=9090", "LATCHKEY_PORT=1")
	expect(t, append(faults, c.Validate(config.ForServe)...),
		"colour: unknown key",
		"database.migrate: must be true or false",
		`tenants[0].trusted_issuers[0].leeway: must be a duration such as "90s", "5m", "720h" or "30d"`,
		"tenants[0].clients[0].acces_token_ttl: unknown key (did you mean access_token_ttl?)",
		"tenants[0].clients[0].claims.email: is empty",
		"tenants[0].clients[1].auth: must be text",
		"LATCHKEY_PORT: unknown variable",
		"issuer: must not end with a slash",
		"secret: must be at least 32 bytes; create one with `latchkey secret new`",
		"listen: must be host:port, such as 127.0.0.1:8080",
		"LATCHKEY_METRICS_LISTEN: must be host:port, such as 127.0.0.1:9464, or none",
		"trusted_proxies[1]: must be an address or a CIDR, such as 10.0.0.0/8",
		"database.url: must be sqlite:FILE or postgres://…",
		"log.level: must be one of debug, info, warn, error",
		"tenants[0].id: must be 1–63 of a–z, 0–9 and -, and not begin with -",
		"tenants[0].trusted_issuers[0].token_type: must be one of jwt, id_token",
		"tenants[0].trusted_issuers[0].keys: must be exactly one of discovery, jwks_uri, jwks, pem, shared_secret, internal",
		"tenants[0].trusted_issuers[0].max_age: must be 1s to 1d",
		"tenants[0].clients[0].grants[1]: must be one of token-exchange, refresh, client-credentials",
		"tenants[0].clients[0].grants: refresh requires token-exchange, which opens the session",
		"tenants[0].clients[0].claims.sub: is a reserved name",
		"tenants[0].clients[1].id: is the same as tenants[0].clients[0].id",
		"tenants[0].users[0].sub: is the id of a client",
	)
}

func TestValidate(t *testing.T) {
	const (
		plain   = "listen: would serve plain HTTP, which is safe only on a loopback address with a loopback issuer: set tls.cert_file and tls.key_file, or behind_proxy: true if a proxy terminates TLS"
		address = "must be host:port, such as 127.0.0.1:8080"
		tls     = "tls: {cert_file: c, key_file: k}\n"
	)
	for _, test := range []struct {
		name, file string
		want       []string
	}{
		{"accepts plain HTTP on loopback", "issuer: http://localhost:8080", nil},
		{"rejects a name of a node that is too long", "issuer: http://localhost:8080\nnode_name: " + strings.Repeat("n", 256), []string{"node_name: must be at most 255 bytes of UTF-8 without control characters"}},
		{"rejects a control character in the name of a node", "issuer: http://localhost:8080\nnode_name: \"a\\nb\"", []string{"node_name: must be at most 255 bytes of UTF-8 without control characters"}},
		{"rejects a single connection", "issuer: http://localhost:8080\ndatabase: {max_connections: 1}", []string{"database.max_connections: must be between 2 and 1000"}},
		{"accepts plain HTTP on loopback by number", "issuer: http://127.0.0.2:8080\nlisten: '[::1]:8080'", nil},
		{"accepts plain HTTP behind a proxy", "issuer: https://id.example.com\nlisten: :8080\nbehind_proxy: true", nil},
		{"accepts TLS anywhere", tls + "issuer: https://id.example.com\nlisten: 0.0.0.0:443", nil},
		{"rejects plain HTTP for a public issuer", "issuer: https://id.example.com", []string{plain}},
		{"rejects plain HTTP on every interface", "issuer: http://localhost:8080\nlisten: :8080", []string{plain}},
		{"rejects plain HTTP on a public address", "issuer: http://localhost:8080\nlisten: 192.0.2.1:8080", []string{plain}},

		{"rejects an http issuer that is public", "issuer: http://id.example.com\nbehind_proxy: true",
			[]string{"issuer: must be https; http is allowed only for loopback hosts, such as http://localhost:8080"}},
		{"rejects an issuer whose host only begins like loopback", "issuer: http://localhost.example.com\nbehind_proxy: true",
			[]string{"issuer: must be https; http is allowed only for loopback hosts, such as http://localhost:8080"}},
		{"rejects an issuer without a scheme", "issuer: id.example.com", []string{"issuer: must be https://host or https://host:port"}},
		{"rejects an issuer whose path ends with a slash", "issuer: http://localhost/auth/", []string{"issuer: must not end with a slash"}},
		{"rejects a path that the server uses itself", "issuer: http://localhost/auth/t", []string{`issuer: must not have "t" in its path: the server uses it`}},
		{"rejects a path with dots", "issuer: http://localhost/../auth", []string{"issuer: may have a path only of letters, digits and . _ ~ - between single slashes"}},
		{"rejects an issuer with a query", "issuer: http://localhost?", []string{"issuer: must not have a query or a fragment"}},
		{"rejects an issuer with a fragment", "issuer: http://localhost#", []string{"issuer: must not have a query or a fragment"}},
		{"rejects an issuer with a user", "issuer: http://me@localhost", []string{"issuer: must not contain a user name or password"}},
		{"rejects an issuer in upper case", "issuer: http://Localhost", []string{"issuer: must be in lower case"}},

		{"rejects an address without a port", "issuer: http://localhost\nlisten: 127.0.0.1", []string{"listen: " + address}},
		{"rejects a port out of range", "issuer: http://localhost\nlisten: 127.0.0.1:65536", []string{"listen: " + address}},
		{"rejects an empty metrics address", "issuer: http://localhost\nmetrics_listen: ''", []string{"metrics_listen: must be host:port, such as 127.0.0.1:9464, or none"}},
		{"rejects metrics on the main address", "issuer: http://localhost\nmetrics_listen: 127.0.0.1:8080",
			[]string{`metrics_listen: must differ from listen; use "none" to disable it`}},
		{"accepts metrics nowhere", "issuer: http://localhost\nmetrics_listen: none", nil},
		{"accepts no admin API", "issuer: http://localhost\nadmin_listen: none", nil},
		{"accepts the admin API at the main address", "issuer: http://localhost\nadmin_listen: 127.0.0.1:8080", nil},
		{"rejects the path of the console in the issuer of a shared listener", "issuer: https://id.example.com/console\nbehind_proxy: true\nadmin_listen: 127.0.0.1:8080",
			[]string{"issuer: must not have the path of the console or of the admin API (/console, /admin/v1) if admin_listen is the value of listen"}},
		{"rejects a path below the admin API in the issuer of a shared listener", "issuer: https://id.example.com/admin/v1/x\nbehind_proxy: true\nadmin_listen: 127.0.0.1:8080",
			[]string{"issuer: must not have the path of the console or of the admin API (/console, /admin/v1) if admin_listen is the value of listen"}},
		{"accepts the path of the console in the issuer beside a listener of its own", "issuer: https://id.example.com/console\nbehind_proxy: true", nil},
		{"accepts another path in the issuer of a shared listener", "issuer: https://id.example.com/consoles\nbehind_proxy: true\nadmin_listen: 127.0.0.1:8080", nil},
		{"rejects an admin address without a port", "issuer: http://localhost\nadmin_listen: 127.0.0.1", []string{"admin_listen: must be host:port, such as 127.0.0.1:8081, or none"}},
		{"rejects the admin API at the address of metrics", "issuer: http://localhost\nadmin_listen: 127.0.0.1:9464",
			[]string{`admin_listen: must differ from metrics_listen; use "none" to disable it`}},
		{"rejects an admin API without TLS on a network", "issuer: http://localhost\nadmin_listen: 0.0.0.0:8081",
			[]string{"admin_listen: would serve plain HTTP, which is safe only on a loopback address: set tls.cert_file and tls.key_file, or behind_proxy: true if a proxy terminates TLS"}},
		{"accepts an admin API behind a proxy", "issuer: https://id.example.com\nbehind_proxy: true\nadmin_listen: 0.0.0.0:8081", nil},

		{"rejects a certificate without its key", "issuer: http://localhost\ntls: {cert_file: c}",
			[]string{"tls.key_file: is missing: tls.cert_file is set"}},
		{"rejects a key without its certificate", "issuer: http://localhost\ntls: {key_file: k}",
			[]string{"tls.cert_file: is missing: tls.key_file is set"}},
		{"rejects an unknown log format", "issuer: http://localhost\nlog: {format: xml}",
			[]string{"log.format: must be one of json, text"}},
		{"accepts introspection from the database", "issuer: http://localhost\nintrospection: {max_age: 0s}", nil},
		{"accepts introspection from memory", "issuer: http://localhost\nintrospection: {max_age: 10s}", nil},
		{"rejects a max_age that is too short", "issuer: http://localhost\nintrospection: {max_age: 999ms}",
			[]string{"introspection.max_age: must be 0 (always read the database), or between 1s and 10s"}},
		{"rejects a max_age that is too long", "issuer: http://localhost\nintrospection: {max_age: 10001ms}",
			[]string{"introspection.max_age: must be 0 (always read the database), or between 1s and 10s"}},
		{"rejects an unlimited max_age", "issuer: http://localhost\nintrospection: {max_age: none}",
			[]string{"introspection.max_age: must be 0 (always read the database), or between 1s and 10s"}},
		{"accepts PostgreSQL", "issuer: http://localhost\ndatabase: {url: 'postgresql://db/latchkey'}", nil},
		{"rejects a database without a name", "issuer: http://localhost\ndatabase: {url: 'sqlite:'}",
			[]string{"database.url: must be sqlite:FILE or postgres://…"}},
		{"rejects one of the server.s own issuers as trusted", "issuer: http://localhost\n" +
			issuer("{issuer: http://localhost/t/other, token_type: jwt, keys: {pem: x}}"),
			[]string{"tenants[0].trusted_issuers[0].issuer: must not be an issuer of this server"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, faults := load(t, test.file, "LATCHKEY_SECRET="+rootSecret)
			expect(t, append(faults, c.Validate(config.ForServe)...), test.want...)
		})
	}
}

func TestValidateSecrets(t *testing.T) {
	const short = ": must be at least 32 bytes; create one with `latchkey secret new`"
	other := strings.ToUpper(rootSecret)
	for _, test := range []struct {
		name, file string
		environ    []string
		want       []string
	}{
		{"accepts several", "secret: [" + rootSecret + ", " + other + "]", nil, nil},
		{"rejects a short one", "secret: [" + rootSecret + ", short]", nil, []string{"secret[1]" + short}},
		{"rejects one given twice", "secret: [" + rootSecret + ", " + rootSecret + "]", nil, []string{"secret[1]: is listed twice"}},
		{"names the variable of a short one", "secret: " + rootSecret, []string{"LATCHKEY_SECRET=short"}, []string{"LATCHKEY_SECRET" + short}},
		{"names the file of a short one", "secret_file: short", nil, []string{"secret_file" + short}},
		{"reports once that a file cannot be read", "secret_file: nowhere", nil,
			[]string{"secret_file: cannot be read: nowhere: no such file or directory"}},
		{"reports once that a variable's file cannot be read", "", []string{"LATCHKEY_SECRET_FILE=/nowhere"},
			[]string{"LATCHKEY_SECRET_FILE: the file that it names cannot be read: no such file or directory"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, "issuer: http://localhost:8080\n"+test.file)
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), "short"), []byte("short"), 0o600); err != nil {
				t.Fatal(err)
			}
			c, faults, err := config.Load(path, test.environ)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, append(faults, c.Validate(config.ForServe)...), test.want...)
		})
	}
}

func TestValidateRequiresWhatACommandNeeds(t *testing.T) {
	const (
		noIssuer = "issuer: is missing: set the base URL, such as https://id.example.com, here or in LATCHKEY_ISSUER"
		noSecret = "secret: is missing: set the root secret here, in LATCHKEY_SECRET, or in a file named by secret_file or LATCHKEY_SECRET_FILE; create one with `latchkey secret new` (use --config to name a configuration file)"
		noTenant = "tenants[0].id: is missing"
	)
	for name, test := range map[string]struct {
		use  config.Use
		want []string
	}{
		"serve names the two settings that are missing": {config.ForServe, []string{noIssuer, noSecret}},
		"apply needs both":      {config.ForApply, []string{noIssuer, noSecret}},
		"keys needs the secret": {config.ForKeys, []string{noSecret}},
		"migrate needs neither": {config.ForMigrate, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, faults, err := config.Load("", nil)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, append(faults, c.Validate(test.use)...), test.want...)
		})
		t.Run(name+", and checks the other settings", func(t *testing.T) {
			c, _ := load(t, "tenants: [{}]")
			expect(t, c.Validate(test.use), append(test.want, noTenant)...)
		})
	}
	t.Run("apply ignores the listener", func(t *testing.T) {
		c, _ := load(t, "issuer: https://id.example.com\nlisten: :8080\nsecret: "+rootSecret)
		expect(t, c.Validate(config.ForApply))
	})
}
