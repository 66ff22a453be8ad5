package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/settings"
)

// Use is what a command does with the configuration, and so which settings it
// cannot do without.
type Use int

// What is checked wherever it is given is the same for all of them.
const (
	ForServe   Use = iota // issuer, secret, and a listener that is safe
	ForApply              // issuer and secret: of what is stored, some is sealed or digested
	ForKeys               // secret: private keys are sealed
	ForMigrate            // nothing but the database, which has a default
)

// minSecret is the least length of a root secret in bytes.
const minSecret = 32

// minIntrospectionAge is the least introspection.max_age that nodes, which look
// every 200 ms, keep to without reading now and then after all.
const minIntrospectionAge = time.Second

// maxShutdownDelay is longer than any load balancer needs to notice that a
// node is not ready.
const maxShutdownDelay = 5 * time.Minute

// Validate names everything that is wrong with c as far as it can be seen
// without compiling an expression or parsing a key. What Load has refused
// already is not named again. Tenants are checked whole for serving, which makes
// each noun what the file says; for any other use they may leave out what is
// stored, so only their ids are checked.
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
		v.Add(v.at("database.max_connections"), "must be from 2 to 1000")
	}
	if age := v.Introspection.MaxAge.Of(); age != 0 && (age < minIntrospectionAge || age > settings.RevocationBound) {
		v.Add(v.at("introspection.max_age"), "must be 0 (always read), or from %s to %s", settings.Duration(minIntrospectionAge), settings.Duration(settings.RevocationBound))
	}
	if v.Fetch.Proxy != "" {
		if u, err := url.Parse(v.Fetch.Proxy); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			v.Add(v.at("fetch.proxy"), "must be http://host:port or https://host:port")
		}
	}
	if delay := v.ShutdownDelay.Of(); delay < 0 || delay > maxShutdownDelay {
		v.Add(v.at("shutdown_delay"), "must be from 0s to %s", settings.Duration(maxShutdownDelay))
	}
	v.oneOf("tenants_at_start", c.TenantsAtStart, settings.StartApply, settings.StartOnce, settings.StartOff)
	if c.Revision < 0 || c.Revision > settings.MaxRevision {
		v.Add("revision", "must be a whole number from 1 to %d, the largest that every tool keeps exact: number the versions of tenants, and raise it with every change", int64(settings.MaxRevision))
	}
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "json", "text")
	if use == ForServe {
		v.Faults = append(v.Faults, settings.ValidateTenants(c.Tenants, c.Issuer)...)
	} else { // merged with what is stored, and checked then, if at all
		v.Faults = append(v.Faults, settings.ValidateIDs(c.Tenants)...)
	}
	return c.Unreported(v.Faults)
}

// Unreported is faults without those at places where Load has found one.
func (c *Config) Unreported(faults settings.Faults) settings.Faults {
	return slices.DeleteFunc(faults, c.reported)
}

// validation gathers faults.
type validation struct {
	*Config
	settings.Faults
}

func (v *validation) issuer(required bool) {
	switch origin, err := settings.ParseBase(v.Issuer); {
	case v.Issuer == "" && required:
		v.Add(v.at("issuer"), "is missing: give the base URL, such as https://id.example.com, here or in LATCHKEY_ISSUER")
	case v.Issuer == "":
	case err != nil:
		v.Add(v.at("issuer"), "%v", err)
	case origin.Scheme == "http" && !loopback(origin.Hostname()):
		v.Add(v.at("issuer"), "must be https; http is for loopback hosts, such as http://localhost:8080")
	}
}

func (v *validation) secret(required bool) {
	if len(v.Secret) == 0 && v.SecretFile == "" && required {
		v.Add(v.at("secret"), "is missing: give the root secret here, in LATCHKEY_SECRET, or in a file by secret_file or LATCHKEY_SECRET_FILE; `latchkey secret new` makes one (a configuration file is given by --config)")
	}
	for i, secret := range v.Secret {
		path := v.at("secret")
		if len(v.Secret) > 1 {
			path = fmt.Sprintf("%s[%d]", path, i)
		}
		if len(secret) < minSecret {
			v.Add(path, "must be at least %d bytes; `latchkey secret new` makes one", minSecret)
		} else if slices.Contains(v.Secret[:i], secret) {
			v.Add(path, "is given twice")
		}
	}
}

// files checks the settings that come in pairs.
func (v *validation) files() {
	switch {
	case v.TLS.CertFile != "" && v.TLS.KeyFile == "":
		v.Add(v.at("tls.key_file"), "is missing beside tls.cert_file")
	case v.TLS.CertFile == "" && v.TLS.KeyFile != "":
		v.Add(v.at("tls.cert_file"), "is missing beside tls.key_file")
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
		v.Add(v.at(path), "must be %s", strings.Join(allowed, ", "))
	}
}

// at is how a fault calls the setting at path: by the variable or the key that
// gave it.
func (c *Config) at(path string) string {
	if source := c.sources[path]; source != "" {
		return source
	}
	return path
}

// reported says that Load found a fault at f's place, or around it.
func (c *Config) reported(f settings.Fault) bool {
	return slices.ContainsFunc(c.refused, func(path string) bool {
		rest, within := strings.CutPrefix(f.Path, path)
		return within && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

func hasPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return len(s) > len(p) && strings.HasPrefix(s, p) })
}
