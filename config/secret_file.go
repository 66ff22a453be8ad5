package config

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/latchkey/latchkey/settings"
)

// maxSecretFile is the maximum size of a file with a secret.
const maxSecretFile = 64 << 10

// readSecretFiles reads every secret file into the field of its secret.
func (c *Config) readSecretFiles(dir string, faults *settings.Faults) {
	if c.sources["secret"] != "" {
		c.SecretFile = "" // the environment takes precedence
	}
	root := strings.Join(c.Secret, ",")
	if c.readSecretFile(dir, "secret_file", c.SecretFile, &root, faults) {
		c.Secret = separate(root)
		c.sources["secret"] = "secret_file"
	}
	for i, t := range c.Tenants {
		for j := range t.Clients {
			client := &t.Clients[j]
			path := fmt.Sprintf("tenants[%d].clients[%d].secret_file", i, j)
			c.readSecretFile(dir, path, client.SecretFile, &client.Secret, faults)
		}
		for j := range t.TrustedIssuers {
			keys := &t.TrustedIssuers[j].Keys
			path := fmt.Sprintf("tenants[%d].trusted_issuers[%d].keys.shared_secret_file", i, j)
			c.readSecretFile(dir, path, keys.SharedSecretFile, &keys.SharedSecret, faults)
		}
		for j := range t.EventDestinations {
			destination := &t.EventDestinations[j]
			path := fmt.Sprintf("tenants[%d].event_destinations[%d].secret_file", i, j)
			c.readSecretFile(dir, path, destination.SecretFile, &destination.Secret, faults)
		}
	}
}

// readSecretFile reads one such file, if it is set, and reports whether it did.
func (c *Config) readSecretFile(dir, path, name string, into *string, faults *settings.Faults) bool {
	if name == "" {
		return false
	}
	if *into != "" {
		faults.Add(path, "conflicts with %s: set only one of them", strings.TrimSuffix(lastName(path), "_file"))
		return false
	}
	secret, err := readSecret(within(dir, name))
	if err != nil {
		faults.Add(path, "cannot be read: %s%v", shown(name), err)
		return false
	}
	*into = secret
	c.private = append(c.private, PrivateFile{path, within(dir, name)})
	return true
}

// shown returns the name of a file for a fault, or nothing if the name is as long as
// a secret: an operator may have put the secret in place of the file name.
func shown(name string) string {
	if len(name) >= minSecret {
		return ""
	}
	return name + ": "
}

// readSecret returns the text of a file without the newlines at its end.
func readSecret(path string) (string, error) {
	text, err := readBounded(path, maxSecretFile)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("the file is empty")
	}
	return secret, nil
}

// separate splits a list from the environment or a file at commas and newlines.
func separate(text string) []string {
	var items []string
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// lastName returns the last name in a path.
func lastName(path string) string { return path[strings.LastIndex(path, ".")+1:] }

// PrivateFile is a file that only the server's account should be able to read.
type PrivateFile struct {
	Setting string // the setting that names the file
	Path    string
}

// PrivateFiles returns the files that contain secrets, which may include the
// configuration file.
func (c *Config) PrivateFiles() []PrivateFile {
	files := c.private
	if c.TLS.KeyFile != "" {
		files = append(files, PrivateFile{c.at("tls.key_file"), c.TLS.KeyFile})
	}
	return files
}

// holdsSecrets reports whether the configuration file contains a secret. c must hold
// only settings from that file.
func (c *Config) holdsSecrets() bool {
	u, err := url.Parse(c.Database.URL)
	if err == nil && u.User != nil {
		if _, given := u.User.Password(); given {
			return true
		}
	}
	for _, t := range c.Tenants {
		for _, client := range t.Clients {
			if client.Secret != "" || client.PreviousSecret != "" {
				return true
			}
		}
		for _, issuer := range t.TrustedIssuers {
			if issuer.Keys.SharedSecret != "" {
				return true
			}
		}
		for _, destination := range t.EventDestinations {
			if destination.Secret != "" {
				return true
			}
		}
	}
	return len(c.Secret) > 0
}
