package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/settings"
	"github.com/latchkey/latchkey/settings/decode"
)

// maxFile is the maximum size of the configuration file.
const maxFile = 8 << 20

// Load reads the file at path, unless path is empty, and overrides it with the
// environment (in the form of os.Environ). The faults are settings that it could not
// decode; Config.Validate checks the others, so that a caller can report all faults
// together. Load returns an error if the file cannot be read or is not YAML. Neither
// faults nor errors quote a value from the file.
func Load(path string, environ []string) (*Config, settings.Faults, error) {
	c := Default()
	var faults settings.Faults
	if path != "" {
		var err error
		if faults, err = c.readFile(path); err != nil {
			return nil, nil, fmt.Errorf("read configuration %s: %w", path, err)
		}
		if c.holdsSecrets() {
			c.private = append(c.private, PrivateFile{"configuration", path})
		}
	}
	dir := filepath.Dir(path)
	c.TLS.CertFile = within(dir, c.TLS.CertFile)
	c.Console.GeoIPFile = within(dir, c.Console.GeoIPFile)
	c.TLS.KeyFile = within(dir, c.TLS.KeyFile)
	c.readEnviron(environ, &faults)
	c.readSecretFiles(dir, &faults)
	for _, f := range faults {
		c.refused = append(c.refused, f.Path)
	}
	return c, faults, nil
}

// LoadApart is Load with the tenants and the revision from another file, whose other
// settings it ignores. It also ignores faults in the tenants of the file at path.
func LoadApart(path, tenants string, environ []string) (*Config, settings.Faults, error) {
	c, faults, err := Load(path, environ)
	if err != nil {
		return nil, nil, err
	}
	other, more, err := Load(tenants, nil)
	if err != nil {
		return nil, nil, err
	}
	c.Tenants, c.Revision = other.Tenants, other.Revision
	c.private = append(c.private, other.private...)
	c.refused = append(slices.DeleteFunc(c.refused, aboutTenants), other.refused...)
	faults = slices.DeleteFunc(faults, func(f settings.Fault) bool { return aboutTenants(f.Path) })
	return c, append(faults, more...), nil
}

// Portable returns the tenants and the revision of the file at path as YAML, with the
// contents of the files that its …_file settings name: the form in which the admin API
// applies a file. It ignores all other settings and their faults.
func Portable(path string) ([]byte, settings.Faults, error) {
	c, faults, err := Load(path, nil)
	if err != nil {
		return nil, nil, err
	}
	faults = slices.DeleteFunc(faults, func(f settings.Fault) bool { return !aboutTenants(f.Path) })
	if len(faults) > 0 {
		return nil, faults, nil
	}
	secrets := map[string]string{}
	for i, t := range c.Tenants {
		for j, client := range t.Clients {
			if client.SecretFile != "" {
				secrets[fmt.Sprintf("tenants[%d].clients[%d].secret_file", i, j)] = client.Secret
			}
		}
		for j, issuer := range t.TrustedIssuers {
			if issuer.Keys.SharedSecretFile != "" {
				secrets[fmt.Sprintf("tenants[%d].trusted_issuers[%d].keys.shared_secret_file", i, j)] = issuer.Keys.SharedSecret
			}
		}
		for j, destination := range t.EventDestinations {
			if destination.SecretFile != "" {
				secrets[fmt.Sprintf("tenants[%d].event_destinations[%d].secret_file", i, j)] = destination.Secret
			}
		}
	}
	text, err := readBounded(path, maxFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	document, err := decode.YAML(text)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	portable, err := document.Extract([]string{"tenants", "revision"}, secrets)
	return portable, nil, err
}

// aboutTenants reports whether a path belongs to the settings from the other file.
func aboutTenants(path string) bool {
	return strings.HasPrefix(path, "tenants[") || path == "tenants" || path == "revision"
}

// readFile decodes the file at path into c.
func (c *Config) readFile(path string) (settings.Faults, error) {
	text, err := readBounded(path, maxFile)
	if err != nil {
		return nil, err
	}
	document, err := decode.YAML(text)
	if err != nil {
		return nil, err
	}
	maps.Copy(c.given, document.Keys())
	return document.Into("", c)
}

// within returns name relative to dir, unless it is absolute or empty.
func within(dir, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// readBounded reads the file at path, which may have at most limit bytes. Its error
// omits path, because an operator may have put a secret in place of a path.
func readBounded(path string, limit int) ([]byte, error) {
	text, err := func() ([]byte, error) {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return io.ReadAll(io.LimitReader(file, int64(limit)+1))
	}()
	var pathError *os.PathError
	switch {
	case errors.As(err, &pathError):
		return nil, pathError.Err
	case err == nil && len(text) > limit:
		return nil, fmt.Errorf("larger than %d KiB", limit>>10)
	}
	return text, err
}
