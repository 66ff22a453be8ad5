package config

import (
	"encoding"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/settings"
	"github.com/latchkey/latchkey/settings/decode"
)

// variable is a setting that an environment variable may set.
type variable struct {
	path  string // its path in the file
	value reflect.Value
	file  bool // NAME_FILE may name a file with the value, so that secrets stay out of the environment
}

// variables returns the variables by name, from the env tags of v and its nested
// structs.
func variables(prefix string, v reflect.Value) map[string]variable {
	found := map[string]variable{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := prefix + f.Tag.Get("yaml")
		if name, option, _ := strings.Cut(f.Tag.Get("env"), ","); name != "" {
			found[name] = variable{path, v.Field(i), option == "file"}
		} else if f.Type.Kind() == reflect.Struct {
			maps.Copy(found, variables(path+".", v.Field(i)))
		}
	}
	return found
}

// readEnviron overrides c with the variables that begin with LATCHKEY_.
func (c *Config) readEnviron(environ []string, faults *settings.Faults) {
	known := variables("", reflect.ValueOf(c).Elem())
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "LATCHKEY_") || foreign(name, value) {
			continue
		}
		setting, ok := known[name]
		base, isFile := strings.CutSuffix(name, "_FILE")
		if isFile = !ok && isFile && known[base].file; isFile {
			setting = known[base]
		}
		switch {
		case !ok && !isFile:
			faults.Add(settings.Member("", name), "unknown variable%s", decode.Suggest(name, slices.Sorted(maps.Keys(known))))
		case value == "":
		default:
			c.readVariable(name, value, setting, isFile, faults)
		}
	}
}

// readVariable sets one setting from the variable name, or from the file that the
// variable names.
func (c *Config) readVariable(name, value string, setting variable, isFile bool, faults *settings.Faults) {
	if other := c.sources[setting.path]; other != "" && other != name {
		faults.Add(name, "conflicts with %s: set only one of them", other)
		return
	}
	c.sources[setting.path], c.given[setting.path] = name, true
	if isFile {
		path, err := value, error(nil)
		if value, err = readSecret(path); err != nil {
			faults.Add(name, "the file that it names cannot be read: %v", err)
			return
		}
		c.private = append(c.private, PrivateFile{name, path})
	}
	if text, ok := setting.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := text.UnmarshalText([]byte(value)); err != nil {
			faults.Add(name, "%v", err)
		}
		return
	}
	switch setting.value.Kind() {
	case reflect.Slice:
		setting.value.Set(reflect.ValueOf(separate(value)).Convert(setting.value.Type()))
	case reflect.Bool:
		if value != "true" && value != "false" {
			faults.Add(name, "must be true or false")
			return
		}
		setting.value.SetBool(value == "true")
	case reflect.Int:
		number, err := strconv.Atoi(value)
		if err != nil {
			faults.Add(name, "must be a whole number")
			return
		}
		setting.value.SetInt(int64(number))
	default:
		setting.value.SetString(value)
	}
}

// serviceLink matches the variables that Kubernetes and Docker set in containers for
// a service whose name begins with latchkey.
var serviceLink = regexp.MustCompile(`^LATCHKEY(_\w+)?_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// foreign reports whether a variable is not a setting but belongs to the command or
// the tests, or is a service link. The shortest service link is a …_PORT with a URL.
func foreign(name, value string) bool {
	return slices.Contains([]string{"LATCHKEY_CONFIG", "LATCHKEY_SERVER", "LATCHKEY_ADMIN_KEY"}, name) ||
		strings.HasPrefix(name, "LATCHKEY_TEST_") ||
		serviceLink.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}
