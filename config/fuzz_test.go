package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/settings"
)

// loadTimeout is far longer than loading any file of this size takes, unless loading
// never ends.
const loadTimeout = time.Minute

// FuzzLoad checks that loading ends for every file and environment, reports the path of
// each fault but never the value, and returns the same result again. The environment is
// given as lines.
func FuzzLoad(f *testing.F) {
	path := filepath.Join(f.TempDir(), "latchkey.yaml")
	f.Add([]byte(documented), "LATCHKEY_LISTEN=127.0.0.1:0")
	f.Add([]byte(user("attributes: {a: "+strings.Repeat("[", 101)+strings.Repeat("]", 101)+"}")), "")
	f.Fuzz(func(t *testing.T, file []byte, environ string) {
		if len(file) > 1<<16 || strings.Contains(string(file)+environ, "/dev") || strings.Contains(string(file)+environ, "/proc") {
			return // the contents of such files may change
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			loadTwice(t, path, file, strings.Split(environ, "\n"))
		}()
		select {
		case <-done:
		case <-time.After(loadTimeout):
			t.Fatal("loading has not ended")
		}
	})
}

func loadTwice(t *testing.T, path string, file []byte, environ []string) {
	c, faults, err := config.Load(path, environ)
	again, faultsAgain, errAgain := config.Load(path, environ)
	if !reflect.DeepEqual(c, again) || !reflect.DeepEqual(faults, faultsAgain) || (err == nil) != (errAgain == nil) {
		t.Errorf("loaded first %+v, %v, %v, then %+v, %v, %v", c, faults, err, again, faultsAgain, errAgain)
	}
	if err != nil {
		for _, word := range strings.FieldsFunc(string(file), func(r rune) bool { return r <= ' ' || strings.ContainsRune(`"',[]{}:#*&!`, r) }) {
			if len(word) >= len(rootSecret) && strings.Contains(err.Error(), word) {
				t.Errorf("the error repeats %q: %v", word, err)
			}
		}
		return
	}
	all := append(c.Validate(config.ForServe), faults...)
	if second := append(again.Validate(config.ForServe), faultsAgain...); !reflect.DeepEqual(all, second) {
		t.Errorf("found first %v, then %v", all, second)
	}
	keys, values := words(file)
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		keys += name + "\n"
	}
	for _, fault := range all {
		line := fault.String()
		unnamed := fault.Path == "" && strings.HasPrefix(fault.Problem, "has a key") // a fault of the file itself
		if fault.Path == "" && !unnamed || fault.Problem == "" || strings.ContainsAny(line, "\n\r\x00") {
			t.Errorf("a fault without a place or a reason, or of several lines: %q", line)
		}
		for _, value := range values {
			if strings.Contains(line, value) && !strings.Contains(keys, value) {
				t.Errorf("the fault repeats %q: %s", value, line)
			}
		}
	}
	if len(all) == 0 {
		wants(t, c)
	}
	for _, less := range []config.Use{config.ForApply, config.ForKeys, config.ForMigrate} {
		if found := len(c.Validate(less)) + len(faults); found > len(all) {
			t.Errorf("%d faults, and %d for serving", found, len(all))
		}
	}
}

// wants checks the assumptions of serve about a configuration without faults.
func wants(t *testing.T, c *config.Config) {
	origin, err := settings.ParseOrigin(c.Issuer)
	if err != nil || origin.String() != c.Issuer || len(c.Secret) == 0 || c.Database.URL == "" || c.Listen == "" {
		t.Errorf("taken without a fault: %+v", c)
	}
	for _, secret := range c.Secret {
		if len(secret) < 32 {
			t.Errorf("a secret of %d bytes", len(secret))
		}
	}
	ids := map[string]bool{}
	for _, tenant := range c.Tenants {
		if !settings.ValidTenantID(tenant.ID) || ids[tenant.ID] {
			t.Errorf("the tenant %q", tenant.ID)
		}
		ids[tenant.ID] = true
		for _, client := range tenant.Clients {
			if client.ID == "" || client.Public() != (client.Secret == "" && client.SecretFile == "") || client.Policy().Validate() != nil {
				t.Errorf("the client %+v", client)
			}
		}
	}
}

// words returns the keys of a file as one text, and the values that are long enough to
// be secrets.
func words(file []byte) (keys string, values []string) {
	var document yaml.Node
	if yaml.Unmarshal(file, &document) != nil {
		return "", nil
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, inner := range n.Content {
			switch {
			case inner.Kind == yaml.ScalarNode && n.Kind == yaml.MappingNode && i%2 == 0:
				keys += inner.Value + "\n"
			case inner.Kind == yaml.ScalarNode && len(inner.Value) >= len(rootSecret):
				values = append(values, inner.Value)
			}
			walk(inner)
		}
	}
	walk(&document)
	return keys, values
}
