package decode_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/settings"
	"github.com/latchkey/latchkey/settings/decode"
)

func TestJSONIsReadLikeTheFile(t *testing.T) {
	document, err := decode.JSON([]byte(`{"name": "Wéb 😀", "auth": "none", "grants": ["refresh"], "access_token_ttl": "5m",
		"claims": {"plan": "user.plan"}, "default_scopes": [], "max_sessions_per_user": {"limit": 10}, "disabled": null}`))
	if err != nil {
		t.Fatal(err)
	}
	var got settings.ClientSpec
	faults, err := document.Into("clients[0]", &got)
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	if got.Name != "Wéb 😀" || got.AccessTokenTTL.String() != "5m" || got.MaxSessionsPerUser.Limit != 10 || got.DefaultScopes == nil {
		t.Errorf("read %+v", got.ClientSettings)
	}
	if want := (settings.Written{"name": true, "auth": true, "grants": true, "access_token_ttl": true, "claims": true,
		"default_scopes": true, "max_sessions_per_user": true, "disabled": false}); !reflect.DeepEqual(got.Written, want) {
		t.Errorf("written: %v, want %v", got.Written, want)
	}
}

func TestJSONRejects(t *testing.T) {
	for name, c := range map[string]struct{ text, path, problem string }{
		"an unknown key":               {`{"nam": "x"}`, "c.nam", "unknown key (did you mean name?)"},
		"a key in another case":        {`{"Name": "x"}`, "c.Name", "unknown key (did you mean name?)"},
		"a key given twice":            {`{"name": "x", "name": "y"}`, "c.name", "occurs twice"},
		"a key given twice in a map":   {`{"claims": {"a": "1", "a": "2"}}`, "c.claims.a", "occurs twice"},
		"YAML's merge key":             {`{"<<": {"name": "x"}}`, "c.<<", "unknown key"},
		"a number where text belongs":  {`{"name": 42}`, "c.name", "must be text"},
		"a boolean as text":            {`{"disabled": "true"}`, "c.disabled", "must be true or false"},
		"a number as text":             {`{"max_sessions_per_user": {"limit": "3"}}`, "c.max_sessions_per_user.limit", "must be a whole number"},
		"a number as a duration":       {`{"access_token_ttl": 300}`, "c.access_token_ttl", "must be text"},
		"a fraction of a whole number": {`{"max_sessions_per_user": {"limit": 1.5}}`, "c.max_sessions_per_user.limit", "must be a whole number"},
		"a scalar instead of a list":   {`{"grants": "refresh"}`, "c.grants", "must be a list"},
	} {
		t.Run(name, func(t *testing.T) {
			document, err := decode.JSON([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			faults, err := document.Into("c", &settings.ClientSpec{})
			if err != nil || len(faults) != 1 || strings.Trim(faults[0].Path, ".") != c.path || !strings.HasPrefix(faults[0].Problem, c.problem) {
				t.Errorf("got %v, %v; want %s: %s", faults, err, c.path, c.problem)
			}
		})
	}
}

func TestJSONParsesOnly(t *testing.T) {
	for name, text := range map[string]string{
		"JSON":                       "name: x",
		"one value":                  `{} {}`,
		"an object":                  `[]`,
		"a value":                    ``,
		"objects that are not deep":  strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200),
		"lists that are not deep":    `{"a":` + strings.Repeat(`[`, 200) + strings.Repeat("]", 200) + "}",
		"text that is not truncated": `{"name": "x"`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := decode.JSON([]byte(text)); err == nil {
				t.Error("was accepted")
			}
		})
	}
}
