// Package config defines the configuration of the server: one documented struct,
// read from a YAML file and the environment, and validated as a whole at start.
package config

import (
	"net"
	"time"

	"github.com/latchkey/latchkey/settings"
)

// None is the value of MetricsListen or AdminListen that disables the listener.
const None = "none"

// Config holds every setting of the server. The yaml tags are the names in the YAML
// file, and the env tags are environment variables that override the file. A
// variable that is set but empty counts as not set.
type Config struct {
	// Issuer is the base URL, which is also the issuer of the tenant
	// "default": scheme://host[:port] in lower case, and a path if other programs
	// share the host, such as https://example.com/auth; no slash at its end.
	// Required. https, or http with a loopback host.
	Issuer string `yaml:"issuer" env:"LATCHKEY_ISSUER"`

	// Listen is the address to listen on, host:port; without a host, every
	// interface. Default 127.0.0.1:8080.
	Listen string `yaml:"listen" env:"LATCHKEY_LISTEN"`

	// BehindProxy declares that a proxy in front terminates TLS, so that the server
	// may use plain HTTP. Default false.
	BehindProxy bool `yaml:"behind_proxy" env:"LATCHKEY_BEHIND_PROXY"`

	// TrustedProxies are the addresses and CIDRs from which the server accepts
	// X-Forwarded-For. Default none: the address of a client is that of its
	// connection.
	TrustedProxies []string `yaml:"trusted_proxies" env:"LATCHKEY_TRUSTED_PROXIES"`

	// NodeName is the name by which operators recognize this node in the console and
	// the admin API: up to 255 bytes. Default: the host name.
	NodeName string `yaml:"node_name" env:"LATCHKEY_NODE_NAME"`

	TLS TLS `yaml:"tls"`
	Log Log `yaml:"log"`

	// MetricsListen is the separate address for /metrics, host:port, or "none".
	// Default 127.0.0.1:9464. If the default address is in use, the server runs
	// without metrics and logs a warning; a configured address must be free.
	MetricsListen string `yaml:"metrics_listen" env:"LATCHKEY_METRICS_LISTEN"`

	// AdminListen is the address for the admin API and the console, host:port. If it
	// equals Listen, that listener serves them too; "none" disables them. With TLS, an
	// address other than loopback serves HTTPS. Default 127.0.0.1:8081. If the default
	// address is in use, the server runs without management and logs a warning; a
	// configured address must be free.
	AdminListen string `yaml:"admin_listen" env:"LATCHKEY_ADMIN_LISTEN"`

	// ShutdownDelay is how long the server continues to serve after SIGTERM while
	// /readyz returns 503, so that load balancers stop sending requests before it
	// stops accepting connections: 0s to 5m. Default 5s, or 0s if standard error is a
	// terminal.
	ShutdownDelay settings.Duration `yaml:"shutdown_delay" env:"LATCHKEY_SHUTDOWN_DELAY"`

	Database      Database      `yaml:"database"`
	Fetch         Fetch         `yaml:"fetch"`
	Introspection Introspection `yaml:"introspection"`
	Console       Console       `yaml:"console"`

	// Secret is the root secret, from which every key of the server is derived: at
	// least 32 bytes, such as the output of `latchkey secret new`. Of several root
	// secrets, the first is used for issuing and the others are accepted. Required.
	Secret Secrets `yaml:"secret" env:"LATCHKEY_SECRET,file"`

	// SecretFile names a file that contains Secret instead (several separated by
	// commas or newlines), relative to the configuration file's folder.
	SecretFile string `yaml:"secret_file"`

	// Tenants are the tenants that serve applies, depending on TenantsAtStart. It
	// never prunes. Default none: serve creates an empty tenant "default".
	Tenants []settings.TenantSpec `yaml:"tenants"`

	// TenantsAtStart is apply (default): every start applies Tenants, and no other
	// file may change what they contain; once: apply them only to a database without
	// tenants; or off.
	TenantsAtStart string `yaml:"tenants_at_start" env:"LATCHKEY_TENANTS_AT_START"`

	// Revision numbers the versions of Tenants, from 1: serve does not apply a file
	// with a lower revision than one applied before. Default: none.
	Revision int64 `yaml:"revision"`

	sources map[string]string // the source of a setting, if it is not its own key in the file
	given   map[string]bool   // top-level keys that the file or the environment sets
	private []PrivateFile     // files from which secrets were read
	refused []string          // paths at which Load found a fault
}

// Secrets is a list of root secrets. The file may give a single one as a scalar; in
// the environment, commas separate them.
type Secrets []string

// OneOrMany implements decode.OneOrMany.
func (Secrets) OneOrMany() {}

// TLS makes Listen serve HTTPS. Set both files, in PEM, or neither. Paths in the
// configuration file are relative to its folder.
type TLS struct {
	CertFile string `yaml:"cert_file" env:"LATCHKEY_TLS_CERT_FILE"` // the certificate and its chain
	KeyFile  string `yaml:"key_file" env:"LATCHKEY_TLS_KEY_FILE"`
}

// Log selects what is logged, and the format.
type Log struct {
	Level  string `yaml:"level" env:"LATCHKEY_LOG_LEVEL"`   // debug | info (default) | warn | error
	Format string `yaml:"format" env:"LATCHKEY_LOG_FORMAT"` // json (default) | text
}

// Database configures the database.
type Database struct {
	// URL is sqlite:FILE (relative to the working directory) or
	// postgres://…. Default sqlite:latchkey.db.
	URL string `yaml:"url" env:"LATCHKEY_DATABASE_URL,file"`

	// Migrate applies schema migrations at start. Default true; if false, run
	// `latchkey migrate` before a new release starts.
	Migrate bool `yaml:"migrate" env:"LATCHKEY_DATABASE_MIGRATE"`

	// PreparedStatements must be false behind a connection pooler that does not
	// support them, such as PgBouncer before 1.21 in transaction mode. Default true.
	PreparedStatements bool `yaml:"prepared_statements" env:"LATCHKEY_DATABASE_PREPARED_STATEMENTS"`
	// MaxConnections is the maximum number of connections to PostgreSQL for the
	// requests of a node, 2 to 1000. Default 16. The node uses one more connection to
	// monitor the database.
	MaxConnections int `yaml:"max_connections" env:"LATCHKEY_DATABASE_MAX_CONNECTIONS"`
}

// Fetch configures how metadata and keys of trusted issuers are fetched.
type Fetch struct {
	// Proxy is the HTTP proxy for these requests, such as http://proxy.internal:3128.
	// It resolves names, so it must reject private addresses. Issuers with
	// allow_private_addresses are fetched without it. Default none: HTTPS_PROXY is
	// ignored.
	Proxy string `yaml:"proxy" env:"LATCHKEY_FETCH_PROXY"`
}

// Introspection configures how introspection checks access tokens for revocation.
type Introspection struct {
	// MaxAge lets a node respond without the database if it has read the event log
	// within this time: 1s to 10s. Default 0: it always reads the database.
	MaxAge settings.Duration `yaml:"max_age" env:"LATCHKEY_INTROSPECTION_MAX_AGE"`
}

// Console configures the pages of the console.
type Console struct {
	// GeoIPFile is a database of MaxMind's format, such as GeoLite2-City.mmdb, with
	// which the console shows the places of addresses. A relative path is relative to
	// the configuration file's folder. Default none: it shows no places.
	GeoIPFile string `yaml:"geoip_file" env:"LATCHKEY_CONSOLE_GEOIP_FILE"`
}

// Default returns the default configuration, which lacks only the issuer and the
// secret.
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

// AdminShared reports whether Listen also serves the admin API.
func (c *Config) AdminShared() bool { return c.AdminListen == c.Listen }

// AdminLoopback reports whether the admin API is served only to this machine.
func (c *Config) AdminLoopback() bool {
	host, _, err := net.SplitHostPort(c.AdminListen)
	return err == nil && loopback(host)
}

// Given reports whether the file or the environment sets a top-level key.
func (c *Config) Given(key string) bool { return c.given[key] }
