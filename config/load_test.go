package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/settings"
)

// rootSecret is long enough, and easy to find in texts that must not contain it.
const rootSecret = "root-secret-0123456789-0123456789-abc"

// write creates a configuration file and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "latchkey.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load reads a configuration that is valid YAML, and returns its faults.
func load(t *testing.T, text string, environ ...string) (*config.Config, settings.Faults) {
	t.Helper()
	c, faults, err := config.Load(write(t, text), environ)
	if err != nil {
		t.Fatal(err)
	}
	return c, faults
}

// expect compares faults, as lines, with the expected ones.
func expect(t *testing.T, faults settings.Faults, want ...string) {
	t.Helper()
	var got []string
	for _, f := range faults {
		got = append(got, f.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("faults:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// indent puts text below key, so that a test contains only its subject.
func indent(key, text string) string {
	return key + "\n    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

func client(text string) string { return indent("tenants:\n- id: default\n  clients:\n  -", text) }
func issuer(text string) string {
	return indent("tenants:\n- id: default\n  trusted_issuers:\n  -", text)
}
func user(text string) string { return indent("tenants:\n- id: default\n  users:\n  -", text) }

func TestLoadRejects(t *testing.T) {
	for _, test := range []struct {
		name, file, want string
	}{
		{"an unknown key and names its path", client("id: web\ncolour: red"),
			"tenants[0].clients[0].colour: unknown key"},
		{"a misspelled key and names the right one", "isuer: https://id.example.com",
			"isuer: unknown key (did you mean issuer?)"},
		{"a key in another style and names the right one", client("accessTokenTtl: 5m"),
			"tenants[0].clients[0].accessTokenTtl: unknown key (did you mean access_token_ttl?)"},
		{"a short name of a list and names the long one", "tenants:\n- id: default\n  issuers: []",
			"tenants[0].issuers: unknown key (did you mean trusted_issuers?)"},
		{"a short name of a key and names the long one", issuer("type: jwt"),
			"tenants[0].trusted_issuers[0].type: unknown key (did you mean token_type?)"},
		{"an unknown key that would not print, quoted", `"a\nb": 1`,
			`["a\nb"]: unknown key`},
		{"a key given twice", "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2",
			"listen: occurs twice"},
		{"a claim given twice", client("claims: {email: a, email: b}"),
			"tenants[0].clients[0].claims.email: occurs twice"},
		{"encrypted introspection, which is not supported", client("introspection_encrypted_response_alg: RSA-OAEP"),
			"tenants[0].clients[0].introspection_encrypted_response_alg: unknown key"},
		{"an unknown key of a class", "tenants:\n- id: default\n  acr: [{value: a, when: b}, {value: a, rule: b}]",
			"tenants[0].acr[1].rule: unknown key"},
		{"a class that is text", "tenants:\n- id: default\n  acr: [phr]",
			"tenants[0].acr[0]: must be a mapping"},
		{"a list where text belongs", "issuer: [https://id.example.com]",
			"issuer: must be text"},
		{"text where a list belongs", client("scopes: profile"),
			"tenants[0].clients[0].scopes: must be a list"},
		{"text where a mapping belongs", "tls: yes",
			"tls: must be a mapping"},
		{"a list where a map belongs", client("claims: [email]"),
			"tenants[0].clients[0].claims: must be a mapping"},
		{"a boolean of old YAML", "behind_proxy: yes",
			"behind_proxy: must be true or false"},
		{"a quoted boolean", `behind_proxy: "true"`,
			"behind_proxy: must be true or false"},
		{"a broken number", client("max_sessions_per_user: {limit: 1.5}"),
			"tenants[0].clients[0].max_sessions_per_user.limit: must be a whole number"},
		{"a number that is too long", "revision: 9223372036854775808",
			"revision: must be a whole number of at most 18 digits"},
		{"a duration without a unit", client("access_token_ttl: 300"),
			`tenants[0].clients[0].access_token_ttl: must be a duration such as "90s", "5m", "720h" or "30d"`},
		{"a duration that is a list", client("access_token_ttl: [5m]"),
			"tenants[0].clients[0].access_token_ttl: must be text"},
		{"an empty item of a list", client("scopes: [a, ]\norigins: [~]"),
			"tenants[0].clients[0].origins[0]: is empty"},
		{"an empty claim", client("claims: {email: }"),
			"tenants[0].clients[0].claims.email: is empty"},
		{"a tag of another program", "issuer: !env ISSUER",
			"issuer: must be text"},
		{"a key that is a list", "? [a]\n: b",
			": has a key that is not text"},
		{"a merge of text", "log: {<<: debug}",
			"log.<<: must be a mapping, or a list of them"},
		{"an attribute that YAML parses as an octal", user("attributes: {phone: 0042}"),
			"tenants[0].users[0].attributes.phone: is not a number in JSON; put it in quotes to use it as text"},
		{"an attribute that is not finite", user("attributes: {a: [{b: .inf}]}"),
			"tenants[0].users[0].attributes.a[0].b: is not a number in JSON; put it in quotes to use it as text"},
		{"an attribute that would lose digits", user("attributes: {id: 12345678901234567890}"),
			"tenants[0].users[0].attributes.id: is not a number in JSON; put it in quotes to use it as text"},
		{"a binary attribute", user("attributes: {photo: !!binary aGk=}"),
			"tenants[0].users[0].attributes.photo: must be a value that JSON can represent"},
		{"a key set that is not JSON", issuer("keys: {jwks: oops}"),
			"tenants[0].trusted_issuers[0].keys.jwks: must be JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, faults := load(t, test.file)
			expect(t, faults, test.want)
		})
	}
}

func TestLoadRejectsAFileThatIs(t *testing.T) {
	bomb := "attributes:\n  k0: &a0 x\n"
	for i := range 9 {
		items := strings.Repeat(fmt.Sprintf("*a%d, ", i), 10)
		bomb += fmt.Sprintf("  k%d: &a%d [%s]\n", i+1, i+1, items)
	}
	for _, test := range []struct {
		name, file, want string
	}{
		{"not YAML", "issuer: [", "did not find expected node content"},
		{"not a mapping", "- issuer", "must be a mapping of settings"},
		{"two documents", "issuer: a\n---\nissuer: b", "must be a single YAML document"},
		{"larger than 8 MiB", "# " + strings.Repeat("x", 8<<20), "larger than 8192 KiB"},
		{"multiplied by its aliases", user(bomb), "its aliases make it too large"},
		{"a part of itself", user("attributes: &a {a: *a}"), "is nested too deep"},
		{"merged into itself", "log: &a {<<: *a}", "is nested too deep"},
		{"nested too deep", user("attributes: {a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}"), "is nested too deep"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := config.Load(write(t, test.file), nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	t.Run("not there, and names it", func(t *testing.T) {
		_, _, err := config.Load("/nowhere/latchkey.yaml", nil)
		if err == nil || err.Error() != "read configuration /nowhere/latchkey.yaml: no such file or directory" {
			t.Errorf("error %v", err)
		}
	})
}

func TestLoadReads(t *testing.T) {
	first := func(c *config.Config) settings.TenantSpec { return c.Tenants[0] }
	minute := settings.Duration(time.Minute)
	for _, test := range []struct {
		name, file string
		got        func(*config.Config) any
		want       any
	}{
		{"an empty file as the defaults", "# nothing\n",
			func(c *config.Config) any {
				return c.Listen + " " + c.MetricsListen + " " + c.Log.Level + " " + c.Database.URL
			},
			"127.0.0.1:8080 127.0.0.1:9464 info sqlite:latchkey.db"},
		{"a key without a value as absent", "listen:\nlog:\n",
			func(c *config.Config) any { return c.Listen }, "127.0.0.1:8080"},
		{"a mapping that sets one of its keys, and keeps the other defaults", "database: {migrate: false}",
			func(c *config.Config) any { return c.Database },
			config.Database{URL: "sqlite:latchkey.db", PreparedStatements: true, MaxConnections: 16}},
		{"one root secret", "secret: abc",
			func(c *config.Config) any { return c.Secret }, config.Secrets{"abc"}},
		{"a list of root secrets", "secret: [abc, 42]",
			func(c *config.Config) any { return c.Secret }, config.Secrets{"abc", "42"}},
		{"text unchanged where YAML sees another type", client("claims: {a: true, b: 0042, c: 2026-01-02}"),
			func(c *config.Config) any { return first(c).Clients[0].Claims },
			map[string]string{"a": "true", "b": "0042", "c": "2026-01-02"}},
		{"an inlined field and a duration", client("access_token_ttl: 1m"),
			func(c *config.Config) any { return first(c).Clients[0].AccessTokenTTL }, &minute},
		{"an empty list apart from none", client("default_scopes: []"),
			func(c *config.Config) any { return first(c).Clients[0].DefaultScopes }, &[]string{}},
		{"attributes as JSON has them", user(`attributes: {a: 1, b: 1.5, c: "1", d: [true, ~], e: {f: 2026-01-02}}`),
			func(c *config.Config) any { return first(c).Users[0].Attributes },
			map[string]any{"a": int64(1), "b": 1.5, "c": "1", "d": []any{true, nil}, "e": map[string]any{"f": "2026-01-02"}}},
		{"a key set written as YAML", issuer("keys: {jwks: {keys: [{kty: RSA, e: AQAB}]}}"),
			func(c *config.Config) any { return first(c).TrustedIssuers[0].Keys.JWKS },
			json.RawMessage(`{"keys":[{"e":"AQAB","kty":"RSA"}]}`)},
		{"a key set written as JSON text", issuer(`keys: {jwks: '{"keys": []}'}`),
			func(c *config.Config) any { return first(c).TrustedIssuers[0].Keys.JWKS },
			json.RawMessage(`{"keys":[]}`)},
		{"an alias", "issuer: &a https://id.example.com\nlisten: *a",
			func(c *config.Config) any { return c.Listen }, "https://id.example.com"},
		{"a merge, in which own keys and earlier ones win", `
tenants:
- clients:
  - &one {id: one, name: One, auth: none}
  - &two {name: Two, preset: mobile}
  - {<<: [*two, *one], id: three}`,
			func(c *config.Config) any {
				three := first(c).Clients[2]
				return three.ID + " " + three.Name + " " + three.Auth + " " + three.Preset
			}, "three Two none mobile"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, faults := load(t, test.file)
			expect(t, faults)
			if got := test.got(c); !reflect.DeepEqual(got, test.want) {
				t.Errorf("%#v, want %#v", got, test.want)
			}
		})
	}
}

func TestLoadSecretFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"root": rootSecret + "\n", "roots": "first,\nsecond\n", "client": "client-secret\r\n", "shared": "shared-secret\n",
		"empty": "\n", "large": strings.Repeat("x", 64<<10+1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(t *testing.T, text string, environ ...string) (*config.Config, settings.Faults) {
		t.Helper()
		path := filepath.Join(dir, "latchkey.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, faults, err := config.Load(path, environ)
		if err != nil {
			t.Fatal(err)
		}
		return c, faults
	}

	t.Run("are read from the configuration's folder, without the last newline", func(t *testing.T) {
		c, faults := read(t, `
secret_file: root
tls: {cert_file: cert.pem, key_file: /etc/key.pem}
tenants:
- clients: [{secret_file: client}]
  trusted_issuers: [{keys: {shared_secret_file: shared}}]`)
		expect(t, faults)
		got := []string{c.Secret[0], c.Tenants[0].Clients[0].Secret, c.Tenants[0].TrustedIssuers[0].Keys.SharedSecret, c.TLS.CertFile, c.TLS.KeyFile}
		want := []string{rootSecret, "client-secret", "shared-secret", filepath.Join(dir, "cert.pem"), "/etc/key.pem"}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
	t.Run("may contain several root secrets", func(t *testing.T) {
		c, faults := read(t, "secret_file: roots")
		expect(t, faults)
		if !slices.Equal(c.Secret, []string{"first", "second"}) {
			t.Errorf("%q", c.Secret)
		}
	})
	t.Run("are ignored when the environment sets the root secret", func(t *testing.T) {
		c, faults := read(t, "secret_file: nowhere", "LATCHKEY_SECRET="+rootSecret)
		expect(t, faults)
		if !slices.Equal(c.Secret, []string{rootSecret}) {
			t.Errorf("%q", c.Secret)
		}
	})
	t.Run("are rejected when missing, empty, too large or set together with the secret", func(t *testing.T) {
		_, faults := read(t, `
secret: abc
secret_file: root
tenants:
- clients: [{secret_file: nowhere}, {secret_file: empty}, {secret_file: large}]
  trusted_issuers: [{keys: {shared_secret: abc, shared_secret_file: shared}}]`)
		expect(t, faults,
			"secret_file: conflicts with secret: set only one of them",
			"tenants[0].clients[0].secret_file: cannot be read: nowhere: no such file or directory",
			"tenants[0].clients[1].secret_file: cannot be read: empty: the file is empty",
			"tenants[0].clients[2].secret_file: cannot be read: large: larger than 64 KiB",
			"tenants[0].trusted_issuers[0].keys.shared_secret_file: conflicts with shared_secret: set only one of them",
		)
	})
}

// Operators may put a secret in the wrong place: as an alias, as a tag, or instead of a
// path.
func TestLoadNeverQuotesASecret(t *testing.T) {
	for name, file := range map[string]string{
		"an unquoted secret that begins with *": "secret: *" + rootSecret,
		"an unquoted secret that begins with !": "secret: !" + rootSecret,
		"a secret in place of its file":         "secret_file: " + rootSecret,
		"a secret in a list of lists":           "secret: [[" + rootSecret + "]]",
		"a secret as a mapping":                 "secret: {a: " + rootSecret + "}",
		"a secret given twice":                  "secret: " + rootSecret + "\nsecret: " + rootSecret,
		"a secret in a list, twice":             "secret: [" + rootSecret + ", " + rootSecret + "]",
		"a secret as a boolean":                 "behind_proxy: " + rootSecret,
		"a secret as a number":                  client("max_sessions_per_user: {limit: " + rootSecret + "}"),
		"a secret as a duration":                client("access_token_ttl: " + rootSecret),
		"a secret in the issuer":                "issuer: https://me:" + rootSecret + "@id.example.com",
		"a secret in a broken issuer":           "issuer: 'https://me:" + rootSecret + "@id.example.com:x'",
		"a secret in the database URL":          "database: {url: 'mysql://me:" + rootSecret + "@db'}",
		"a client's secret of a public client":  client("id: web\nauth: none\nsecret: " + rootSecret),
		"a client's secret that is not ASCII":   client("id: web\nauth: secret\nsecret: é" + rootSecret),
		"a client's secret with a NUL":          client(`{id: web, auth: secret, secret: "` + rootSecret + `\0"}`),
	} {
		t.Run(name, func(t *testing.T) {
			c, faults, err := config.Load(write(t, file), nil)
			if err == nil {
				faults = append(faults, c.Validate(config.ForServe)...)
				err = faults
			}
			if strings.Contains(err.Error(), rootSecret) {
				t.Errorf("shown: %v", err)
			}
		})
	}
}

func TestEnv(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("postgres://db/latchkey\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("wins over the file", func(t *testing.T) {
		c, faults := load(t, "issuer: https://file.example.com\nsecret: abc\nlog: {level: debug}\ntrusted_proxies: [10.0.0.1]",
			"LATCHKEY_ISSUER=https://env.example.com", "LATCHKEY_LISTEN=127.0.0.1:1", "LATCHKEY_BEHIND_PROXY=true",
			"LATCHKEY_TRUSTED_PROXIES=10.0.0.0/8, ::1", "LATCHKEY_TLS_CERT_FILE=cert.pem", "LATCHKEY_TLS_KEY_FILE=key.pem",
			"LATCHKEY_LOG_LEVEL=warn", "LATCHKEY_LOG_FORMAT=text", "LATCHKEY_METRICS_LISTEN=none",
			"LATCHKEY_DATABASE_URL_FILE="+file, "LATCHKEY_DATABASE_MIGRATE=false", "LATCHKEY_DATABASE_MAX_CONNECTIONS=32", "LATCHKEY_DATABASE_PREPARED_STATEMENTS=false",
			"LATCHKEY_INTROSPECTION_MAX_AGE=2s", "LATCHKEY_SECRET=one,two")
		expect(t, faults)
		got := []any{c.Issuer, c.Listen, c.BehindProxy, c.TrustedProxies, c.TLS, c.Log, c.MetricsListen, c.Database, c.Introspection, c.Secret}
		want := []any{"https://env.example.com", "127.0.0.1:1", true, []string{"10.0.0.0/8", "::1"},
			config.TLS{CertFile: "cert.pem", KeyFile: "key.pem"}, config.Log{Level: "warn", Format: "text"}, "none",
			config.Database{URL: "postgres://db/latchkey", MaxConnections: 32}, config.Introspection{MaxAge: settings.Duration(2 * time.Second)}, config.Secrets{"one", "two"}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%#v\nwant %#v", got, want)
		}
	})
	t.Run("suffices without a file", func(t *testing.T) {
		c, faults, err := config.Load("", []string{"LATCHKEY_ISSUER=http://localhost:8080", "LATCHKEY_SECRET=" + rootSecret})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, append(faults, c.Validate(config.ForServe)...))
	})
	for _, test := range []struct {
		name    string
		environ []string
		want    []string
	}{
		{"rejects an unknown variable and names the right one", []string{"LATCHKEY_LISTN=127.0.0.1:1"},
			[]string{"LATCHKEY_LISTN: unknown variable (did you mean LATCHKEY_LISTEN?)"}},
		{"rejects a _FILE variable of a setting that is not a secret", []string{"LATCHKEY_ISSUER_FILE=" + file},
			[]string{"LATCHKEY_ISSUER_FILE: unknown variable"}},
		{"rejects an unknown port variable", []string{"LATCHKEY_PORT=8080"},
			[]string{"LATCHKEY_PORT: unknown variable"}},
		{"rejects a broken boolean", []string{"LATCHKEY_BEHIND_PROXY=yes"},
			[]string{"LATCHKEY_BEHIND_PROXY: must be true or false"}},
		{"rejects a broken duration", []string{"LATCHKEY_INTROSPECTION_MAX_AGE=2"},
			[]string{`LATCHKEY_INTROSPECTION_MAX_AGE: must be a duration such as "90s", "5m", "720h" or "30d"`}},
		{"rejects a secret together with its file", []string{"LATCHKEY_DATABASE_URL=sqlite:a", "LATCHKEY_DATABASE_URL_FILE=" + file},
			[]string{"LATCHKEY_DATABASE_URL_FILE: conflicts with LATCHKEY_DATABASE_URL: set only one of them"}},
		{"rejects a missing secret file", []string{"LATCHKEY_SECRET_FILE=/nowhere"},
			[]string{"LATCHKEY_SECRET_FILE: the file that it names cannot be read: no such file or directory"}},
		{"ignores an empty variable", []string{"LATCHKEY_LISTEN=", "LATCHKEY_SECRET_FILE="}, nil},
		{"ignores other variables", []string{"PATH=/bin", "LATCHKEY_CONFIG=x", "LATCHKEY_TEST_DATABASE_URL=x"}, nil},
		{"ignores service links of Kubernetes", []string{
			"LATCHKEY_SERVICE_HOST=10.0.0.1", "LATCHKEY_SERVICE_PORT=80", "LATCHKEY_SERVICE_PORT_HTTP=80",
			"LATCHKEY_PORT=tcp://10.0.0.1:80", "LATCHKEY_PORT_80_TCP=tcp://10.0.0.1:80", "LATCHKEY_PORT_80_TCP_PROTO=tcp",
			"LATCHKEY_PORT_80_TCP_PORT=80", "LATCHKEY_PORT_80_TCP_ADDR=10.0.0.1", "LATCHKEY_METRICS_SERVICE_HOST=10.0.0.2",
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, faults, err := config.Load("", test.environ)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, faults, test.want...)
		})
	}
}

func TestGivenDistinguishesAKeyFromItsDefault(t *testing.T) {
	for file, want := range map[string]bool{"": false, "listen: 127.0.0.1:1\n": false, "metrics_listen:\n": false, "metrics_listen: 127.0.0.1:9464\n": true} {
		path := filepath.Join(t.TempDir(), "latchkey.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := config.Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Given("metrics_listen"); got != want {
			t.Errorf("%q: %v, want %v", file, got, want)
		}
	}
	c, _, err := config.Load("", []string{"LATCHKEY_METRICS_LISTEN=127.0.0.1:9464"})
	if err != nil || !c.Given("metrics_listen") || c.Given("listen") {
		t.Errorf("from the environment: %v", err)
	}
}
