package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/latchkey/latchkey/settings"
)

// maxFile bounds the configuration file.
const maxFile = 8 << 20

// Load reads the file at path, unless path is empty, and lays the environment
// (as os.Environ gives it) over it. Faults are what could not be understood;
// Config.Validate says what is wrong with the rest, so that a caller can show
// all of them together. The error is for a file that cannot be read at all or
// is not YAML. Neither ever holds a value from the file.
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
	c.TLS.KeyFile = within(dir, c.TLS.KeyFile)
	c.readEnviron(environ, &faults)
	c.readSecretFiles(dir, &faults)
	for _, f := range faults {
		c.refused = append(c.refused, f.Path)
	}
	return c, faults, nil
}

// LoadApart is Load with the tenants and the revision of another file, of which
// nothing else counts. Faults in the tenants of the file at path do not matter.
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

// aboutTenants reports whether a path lies in what LoadApart reads elsewhere.
func aboutTenants(path string) bool {
	return strings.HasPrefix(path, "tenants[") || path == "tenants" || path == "revision"
}

// readFile decodes the file at path into c.
func (c *Config) readFile(path string) (settings.Faults, error) {
	text, err := readBounded(path, maxFile)
	if err != nil {
		return nil, err
	}
	root, err := parse(text)
	if root == nil || err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		c.given[root.Content[i].Value] = !isNull(root.Content[i+1])
	}
	var d decoder
	d.value("", root, reflect.ValueOf(c).Elem())
	return d.faults, d.overrun
}

// parse returns the only document of a YAML text, nil if there is none.
func parse(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxError(err)
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode && !isNull(root) {
		return nil, errors.New("must be a mapping of settings")
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, errors.New("must be a single YAML document")
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(err)
	}
	return root, nil
}

// syntaxError hides the one message of the parser that quotes the file: an
// unquoted secret that begins with * is read as an alias.
func syntaxError(err error) error {
	if strings.Contains(err.Error(), "unknown anchor") {
		return errors.New("an alias (*name) has no anchor; quote a value that begins with *")
	}
	return err
}

// within is name, relative to dir unless it is absolute or empty.
func within(dir, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// readBounded reads the file at path, which may hold at most limit bytes. Its
// error leaves path out: what was meant as a secret may stand where a path
// belongs.
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
