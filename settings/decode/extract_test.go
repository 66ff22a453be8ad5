package decode_test

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/settings/decode"
)

func TestExtractKeepsWhatIsAskedFor(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"the members asked for":    {"issuer: x\nrevision: 2\ntenants: [{id: a}]\n", "revision: 2\ntenants: [{id: a}]\n"},
		"text in place of a file":  {"tenants:\n- secret_file: s\n  name: null\n", "tenants:\n    - secret: \"a: *b\\n\"\n      name: null\n"},
		"an anchor from elsewhere": {"x: &a [1, 2]\ntenants:\n- scopes: *a\n", "tenants:\n    - scopes: [1, 2]\n"},
		"a file that is merged":    {"x: &a {secret_file: s}\ntenants:\n- <<: *a\n", "tenants:\n    - <<: {secret: \"a: *b\\n\"}\n"},
		"numbers as written":       {"tenants:\n- id: 007\n  name: 1_0\n", "tenants:\n    - id: 007\n      name: 1_0\n"},
		"no comments":              {"tenants: # secret\n# x\n- id: a\n", "tenants:\n    - id: a\n"},
		"nothing of nothing":       {"", "{}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := decode.YAML([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Extract([]string{"tenants", "revision"}, map[string]string{"tenants[0].secret_file": "a: *b\n"})
			if err != nil || string(got) != c.want {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := decode.YAML(got); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExtractIsBounded(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a: &a [x,x,x,x,x,x,x,x,x]\n")
	for c := 'b'; c <= 'i'; c++ {
		before := string(c - 1)
		bomb.WriteString(string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+before+",", 9), ",") + "]\n")
	}
	d, err := decode.YAML([]byte(bomb.String()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Extract([]string{"i"}, nil); err == nil || err.Error() != "is too large" {
		t.Error(err)
	}
}
