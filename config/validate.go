package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey/latchkey/settings"
)

// Use is what a command uses the configuration for. It determines which settings are
// required.
type Use int

// Optional settings are checked in the same way for every use.
const (
	ForServe   Use = iota // requires issuer, secret, and a safe listener
	ForApply              // requires issuer and secret, which seals and digests stored values
	ForKeys               // requires secret, which seals private keys
	ForMigrate            // requires only the database, which has a default
)

// minSecret is the minimum length of a root secret in bytes.
const minSecret = 32

// minIntrospectionAge is the minimum introspection.max_age. Nodes read the event log
// every 200 ms; with a shorter limit they would often read the database anyway.
const minIntrospectionAge = time.Second

// maxNodeName is as long as a host name may be, and a little longer.
const maxNodeName = 255

// maxShutdownDelay is longer than any load balancer takes to notice that a node is
// not ready.
const maxShutdownDelay = 5 * time.Minute

// Validate returns every fault of c that shows without compiling an expression or
// parsing a key, except those that Load has returned. For serving it checks tenants
// completely, because serve replaces the stored settings with those of the file. For
// any other use it checks only their ids, because tenants may omit stored settings.
func (c *Config) Validate(use Use) settings.Faults {
	v := validation{Config: c}
	v.issuer(use != ForKeys && use != ForMigrate)
	v.secret(use != ForMigrate)
	v.listeners(use == ForServe)
	v.files()
	if !hasPrefix(c.Database.URL, "sqlite:", "postgres://", "postgresql://") {
		v.Add(c.at("database.url"), "must be sqlite:FILE or postgres://…")
	}
	if n := c.Database.MaxConnections; n < 2 || n > 1000 {
		v.Add(v.at("database.max_connections"), "must be between 2 and 1000")
	}
	if age := v.Introspection.MaxAge.Std(); age != 0 && (age < minIntrospectionAge || age > settings.RevocationBound) {
		v.Add(v.at("introspection.max_age"), "must be 0 (always read the database), or between %s and %s", settings.Duration(minIntrospectionAge), settings.Duration(settings.RevocationBound))
	}
	if v.Fetch.Proxy != "" {
		if u, err := url.Parse(v.Fetch.Proxy); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			v.Add(v.at("fetch.proxy"), "must be http://host:port or https://host:port")
		}
	}
	if delay := v.ShutdownDelay.Std(); delay < 0 || delay > maxShutdownDelay {
		v.Add(v.at("shutdown_delay"), "must be between 0s and %s", settings.Duration(maxShutdownDelay))
	}
	if len(v.NodeName) > maxNodeName || !utf8.ValidString(v.NodeName) || strings.ContainsFunc(v.NodeName, unicode.IsControl) {
		v.Add(v.at("node_name"), "must be at most %d bytes of UTF-8 without control characters", maxNodeName)
	}
	v.oneOf("tenants_at_start", c.TenantsAtStart, settings.StartApply, settings.StartOnce, settings.StartOff)
	if c.Revision < 0 || c.Revision > settings.MaxRevision {
		v.Add("revision", "must be a whole number between 1 and %d (the largest that every JSON tool represents exactly): increase it with every change of tenants", int64(settings.MaxRevision))
	}
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "json", "text")
	if use == ForServe {
		v.Faults = append(v.Faults, settings.ValidateTenants(c.Tenants, c.Issuer)...)
	} else { // apply checks them after merging them with the database
		v.Faults = append(v.Faults, settings.ValidateIDs(c.Tenants)...)
	}
	return c.Unreported(v.Faults)
}

// Unreported returns faults except those where Load has already found one.
func (c *Config) Unreported(faults settings.Faults) settings.Faults {
	return slices.DeleteFunc(faults, c.reported)
}

// validation collects faults.
type validation struct {
	*Config
	settings.Faults
}

func (v *validation) issuer(required bool) {
	switch origin, err := settings.ParseBase(v.Issuer); {
	case v.Issuer == "" && required:
		v.Add(v.at("issuer"), "is missing: set the base URL, such as https://id.example.com, here or in LATCHKEY_ISSUER")
	case v.Issuer == "":
	case err != nil:
		v.Add(v.at("issuer"), "%v", err)
	case origin.Scheme == "http" && !loopback(origin.Hostname()):
		v.Add(v.at("issuer"), "must be https; http is allowed only for loopback hosts, such as http://localhost:8080")
	}
}

func (v *validation) secret(required bool) {
	if len(v.Secret) == 0 && v.SecretFile == "" && required {
		v.Add(v.at("secret"), "is missing: set the root secret here, in LATCHKEY_SECRET, or in a file named by secret_file or LATCHKEY_SECRET_FILE; create one with `latchkey secret new` (use --config to name a configuration file)")
	}
	for i, secret := range v.Secret {
		path := v.at("secret")
		if len(v.Secret) > 1 {
			path = fmt.Sprintf("%s[%d]", path, i)
		}
		if len(secret) < minSecret {
			v.Add(path, "must be at least %d bytes; create one with `latchkey secret new`", minSecret)
		} else if slices.Contains(v.Secret[:i], secret) {
			v.Add(path, "is listed twice")
		}
	}
}

// files checks the TLS files and the trusted proxies.
func (v *validation) files() {
	switch {
	case v.TLS.CertFile != "" && v.TLS.KeyFile == "":
		v.Add(v.at("tls.key_file"), "is missing: tls.cert_file is set")
	case v.TLS.CertFile == "" && v.TLS.KeyFile != "":
		v.Add(v.at("tls.cert_file"), "is missing: tls.key_file is set")
	}
	for i, proxy := range v.TrustedProxies {
		_, noPrefix := netip.ParsePrefix(proxy)
		_, noAddress := netip.ParseAddr(proxy)
		if noPrefix != nil && noAddress != nil {
			v.Add(fmt.Sprintf("%s[%d]", v.at("trusted_proxies"), i), "must be an address or a CIDR, such as 10.0.0.0/8")
		}
	}
}

func (v *validation) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.Add(v.at(path), "must be one of %s", strings.Join(allowed, ", "))
	}
}

// at returns the name of the setting at path for a fault: the variable or key from
// which it came.
func (c *Config) at(path string) string {
	if source := c.sources[path]; source != "" {
		return source
	}
	return path
}

// reported reports whether Load found a fault at f's path or at a parent of it.
func (c *Config) reported(f settings.Fault) bool {
	return slices.ContainsFunc(c.refused, func(path string) bool {
		rest, within := strings.CutPrefix(f.Path, path)
		return within && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

func hasPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return len(s) > len(p) && strings.HasPrefix(s, p) })
}
