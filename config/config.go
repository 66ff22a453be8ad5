// Package config is what an operator sets: one documented struct, read from a
// YAML file and the environment, and checked whole before anything starts.
package config

import (
	"net"
	"time"

	"github.com/latchkey/latchkey/settings"
)

// None, as MetricsListen or AdminListen, switches the listener off.
const None = "none"

// Config is every setting of the server. The YAML file holds it under the
// names of the yaml tags; an environment variable named by an env tag wins
// over the file. A variable that is set but empty counts as not set.
type Config struct {
	// Issuer is the base URL, which is also the issuer of the tenant
	// "default": scheme://host[:port] in lower case, and a path if other programs
	// share the host, such as https://example.com/auth; no slash at its end.
	// Required. https, or http with a loopback host.
	Issuer string `yaml:"issuer" env:"LATCHKEY_ISSUER"`

	// Listen is the address served, host:port; without a host, every
	// interface. Default 127.0.0.1:8080.
	Listen string `yaml:"listen" env:"LATCHKEY_LISTEN"`

	// BehindProxy says that TLS ends at a proxy in front, so that plain HTTP
	// may be served. Default false.
	BehindProxy bool `yaml:"behind_proxy" env:"LATCHKEY_BEHIND_PROXY"`

	// TrustedProxies are the addresses and CIDRs whose X-Forwarded-For is
	// believed. Default none: a client's address is its connection's.
	TrustedProxies []string `yaml:"trusted_proxies" env:"LATCHKEY_TRUSTED_PROXIES"`

	TLS TLS `yaml:"tls"`
	Log Log `yaml:"log"`

	// MetricsListen is where /metrics is served, host:port, apart from
	// Listen; "none" serves it nowhere. Default 127.0.0.1:9464. If the default
	// address is taken, the server runs without metrics and warns; an address
	// that was configured has to be free.
	MetricsListen string `yaml:"metrics_listen" env:"LATCHKEY_METRICS_LISTEN"`

	// AdminListen is where the admin API and the console are served, host:port;
	// the value of Listen serves them there as well; "none" serves them nowhere.
	// With TLS, an address that is not loopback serves HTTPS. Default
	// 127.0.0.1:8081. If the default address is taken, the server runs without
	// management and warns; an address that was configured has to be free.
	AdminListen string `yaml:"admin_listen" env:"LATCHKEY_ADMIN_LISTEN"`

	// ShutdownDelay is how long the server goes on serving after SIGTERM while
	// /readyz already answers 503, so that load balancers stop sending requests
	// before connections are refused: 0s to 5m. Default 5s, or 0s where standard
	// error is a terminal.
	ShutdownDelay settings.Duration `yaml:"shutdown_delay" env:"LATCHKEY_SHUTDOWN_DELAY"`

	Database      Database      `yaml:"database"`
	Fetch         Fetch         `yaml:"fetch"`
	Introspection Introspection `yaml:"introspection"`

	// Secret is the root secret, from which every key of the server is
	// derived: at least 32 bytes, as `latchkey secret new` prints it. Of
	// several the first issues and the others are still accepted. Required.
	Secret Secrets `yaml:"secret" env:"LATCHKEY_SECRET,file"`

	// SecretFile names a file that holds Secret instead (separated by commas
	// or newlines), relative to the configuration file's folder.
	SecretFile string `yaml:"secret_file"`

	// Tenants are applied by serve as TenantsAtStart says, and never pruned.
	// Default: none in the file, and an empty tenant "default" is served.
	Tenants []settings.TenantSpec `yaml:"tenants"`

	// TenantsAtStart is apply (default): at every start each noun of Tenants
	// becomes what the file says, and nothing else may change it; once: only into
	// a database without tenants; or off.
	TenantsAtStart string `yaml:"tenants_at_start" env:"LATCHKEY_TENANTS_AT_START"`

	// Revision numbers the versions of Tenants, from 1: serve does not apply a
	// lower one than was applied before. Default: none.
	Revision int64 `yaml:"revision"`

	sources map[string]string // where a setting came from, if not from its own key in the file
	given   map[string]bool   // top-level keys that the file or the environment sets
	private []PrivateFile     // that secrets were read from
	refused []string          // paths at which Load found a fault
}

// Secrets is a list of root secrets. The file may give a single one as a
// scalar, the environment separates them by commas.
type Secrets []string

// OneOrMany implements decode.OneOrMany.
func (Secrets) OneOrMany() {}

// TLS makes Listen serve HTTPS. Both files are given, in PEM, or neither;
// paths in the file are relative to its folder.
type TLS struct {
	CertFile string `yaml:"cert_file" env:"LATCHKEY_TLS_CERT_FILE"` // the certificate and its chain
	KeyFile  string `yaml:"key_file" env:"LATCHKEY_TLS_KEY_FILE"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level" env:"LATCHKEY_LOG_LEVEL"`   // debug | info (default) | warn | error
	Format string `yaml:"format" env:"LATCHKEY_LOG_FORMAT"` // json (default) | text
}

// Database is where everything is stored.
type Database struct {
	// URL is sqlite:FILE (relative to the working directory) or
	// postgres://…. Default sqlite:latchkey.db.
	URL string `yaml:"url" env:"LATCHKEY_DATABASE_URL,file"`

	// Migrate applies schema migrations at start. Default true; with false,
	// `latchkey migrate` has to run before a new release starts.
	Migrate bool `yaml:"migrate" env:"LATCHKEY_DATABASE_MIGRATE"`

	// PreparedStatements is false behind a connection pooler that cannot keep
	// them, such as PgBouncer before 1.21 in transaction mode.
	PreparedStatements bool `yaml:"prepared_statements" env:"LATCHKEY_DATABASE_PREPARED_STATEMENTS"`
	// MaxConnections bounds how many connections a node has to PostgreSQL for its
	// requests, 2 to 1000. Default 16. It has one more to watch the database.
	MaxConnections int `yaml:"max_connections" env:"LATCHKEY_DATABASE_MAX_CONNECTIONS"`
}

// Fetch is how metadata and keys of trusted issuers are fetched.
type Fetch struct {
	// Proxy is the HTTP proxy that they are fetched through, such as
	// http://proxy.internal:3128. It resolves names, so it has to refuse private
	// addresses. Issuers with allow_private_addresses are fetched without it.
	// Default none, whatever HTTPS_PROXY says.
	Proxy string `yaml:"proxy" env:"LATCHKEY_FETCH_PROXY"`
}

// Introspection says how active access tokens are told from revoked ones.
type Introspection struct {
	// MaxAge lets a node answer without the database while what it has read of
	// revocations is younger: 1s to 10s. Default 0: it always reads.
	MaxAge settings.Duration `yaml:"max_age" env:"LATCHKEY_INTROSPECTION_MAX_AGE"`
}

// Default is the configuration before anything is read: complete but for the
// issuer and the secret.
func Default() *Config {
	return &Config{
		Listen:         "127.0.0.1:8080",
		MetricsListen:  "127.0.0.1:9464",
		AdminListen:    "127.0.0.1:8081",
		ShutdownDelay:  settings.Duration(5 * time.Second),
		TenantsAtStart: settings.StartApply,
		Log:            Log{Level: "info", Format: "json"},
		Database:       Database{URL: "sqlite:latchkey.db", Migrate: true, PreparedStatements: true, MaxConnections: 16},
		sources:        map[string]string{},
		given:          map[string]bool{},
	}
}

// AdminShared reports whether the admin API is served at Listen.
func (c *Config) AdminShared() bool { return c.AdminListen == c.Listen }

// AdminLoopback reports whether the admin API is served to this machine only.
func (c *Config) AdminLoopback() bool {
	host, _, err := net.SplitHostPort(c.AdminListen)
	return err == nil && loopback(host)
}

// Given reports whether the file or the environment sets a top-level key,
// rather than leaving it at its default.
func (c *Config) Given(key string) bool { return c.given[key] }
