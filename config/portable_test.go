package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/config"
)

func TestPortableHoldsTheContentsOfSecretFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("s", "it's \"quoted\": #\n")
	write("f.yaml", `
secret: root-secret-0123456789-0123456789-abc
listen: nonsense
colour: red
revision: 7
tenants:
- id: a
- id: b
  clients: [{ id: web, auth: secret, secret_file: s }]
  trusted_issuers: [{ id: i, keys: { shared_secret_file: s } }]
`)
	document, faults, err := config.Portable(filepath.Join(folder, "f.yaml"))
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	const want = `revision: 7
tenants:
    - id: a
    - id: b
      clients: [{id: web, auth: secret, secret: "it's \"quoted\": #"}]
      trusted_issuers: [{id: i, keys: {shared_secret: "it's \"quoted\": #"}}]
`
	if string(document) != want {
		t.Errorf("%s", document)
	}
	write("f.yaml", "tenants:\n- id: a\n  colour: red\n  clients: [{ id: web, secret_file: absent }]\n")
	_, faults, err = config.Portable(filepath.Join(folder, "f.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, faults, "tenants[0].colour: unknown key", "tenants[0].clients[0].secret_file: cannot be read: absent: no such file or directory")
	if _, _, err := config.Portable(filepath.Join(folder, "none.yaml")); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Error(err)
	}
}
