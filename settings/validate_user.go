package settings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxAttribute is the maximum size of a stored attribute as JSON, in bytes.
const maxAttribute = 4 << 10

// reservedUserAttribute reports whether `user` has another member of this name in
// expressions.
func reservedUserAttribute(name string) bool { return name == "sub" }

// reservedSessionAttribute is the same for `session`.
func reservedSessionAttribute(name string) bool {
	return slices.Contains([]string{"amr", "acr", "auth_time", "acr_times"}, name)
}

// maxSearchable bounds what a sign-in writes.
const maxSearchable = 10

// searchableAttributes checks the names of the attributes by which users are found.
func (v *tenantValidation) searchableAttributes() {
	at := v.at + ".searchable_attributes"
	if len(v.SearchableAttributes) > maxSearchable {
		v.Add(at, "must have at most %d entries", maxSearchable)
	}
	v.each(at, v.SearchableAttributes, func(name string) string {
		switch problem := text(64)(name); {
		case problem != "":
			return problem
		case strings.Contains(name, ":"):
			return "must not contain a colon, which ends the name in a search"
		case reservedUserAttribute(name):
			return "is a reserved name"
		}
		return ""
	})
}

// userSub checks the id of a user.
var userSub = printable(1, 255)

// users checks every user.
func (v *tenantValidation) users() {
	subs := seen{}
	for _, u := range v.Users {
		at := u.Path
		v.required(at+".sub", u.Sub, userSub)
		subs.note(&v.Faults, at+".sub", u.Sub)
		if v.clients[u.Sub] && u.Sub != "" {
			// The sub of a token without a user is the client id.
			v.Add(at+".sub", "is the id of a client")
		}
		for _, name := range slices.Sorted(maps.Keys(u.Attributes)) {
			path := Member(at+".attributes", name)
			v.memberName(path, name, reservedUserAttribute)
			switch text, err := json.Marshal(u.Attributes[name]); {
			case err != nil:
				v.Add(path, "must be a value that JSON can represent")
			case len(text) > maxAttribute:
				v.Add(path, "must be at most 4 KiB as JSON")
			}
		}
	}
}

// storable rejects, anywhere in value, text that PostgreSQL cannot store: text with
// a NUL, or text that is not UTF-8.
func (v *tenantValidation) storable(path string, value reflect.Value) {
	switch value.Kind() {
	case reflect.String:
		v.storableText(path, value.String())
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			v.storable(path, value.Elem())
		}
	case reflect.Slice:
		if raw, ok := value.Interface().(json.RawMessage); ok {
			v.storableText(path, string(bytes.ReplaceAll(raw, []byte(`\u0000`), []byte{0})))
			return
		}
		for i := range value.Len() {
			v.storable(fmt.Sprintf("%s[%d]", path, i), value.Index(i))
		}
	case reflect.Map:
		keys := value.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			at := Member(path, key.String())
			v.storableText(at, key.String())
			v.storable(at, value.MapIndex(key))
		}
	case reflect.Struct:
		if value.Type() == reflect.TypeFor[Place]() {
			return
		}
		for i := range value.NumField() {
			switch key, option, _ := strings.Cut(value.Type().Field(i).Tag.Get("yaml"), ","); {
			case option == "inline":
				v.storable(path, value.Field(i))
			case key != "":
				v.storable(path+"."+key, value.Field(i))
			}
		}
	}
}

func (v *tenantValidation) storableText(path, s string) {
	if (strings.Contains(s, "\x00") || !utf8.ValidString(s)) && !v.faulty[path] {
		v.Add(path, "must be UTF-8 without NUL")
		v.faulty[path] = true
	}
}

// ValidateSessionAttributes returns the faults of session attributes. A nil value
// removes the attribute.
func ValidateSessionAttributes(path string, attributes map[string]any) Faults {
	v := tenantValidation{}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		at := Member(path, name)
		v.memberName(at, name, reservedSessionAttribute)
		if text, err := json.Marshal(attributes[name]); err != nil {
			v.Add(at, "must be a value that JSON can represent")
		} else if len(text) > maxAttribute {
			v.Add(at, "must be at most 4 KiB as JSON")
		}
	}
	v.faulty = map[string]bool{}
	v.storable(path, reflect.ValueOf(attributes))
	return v.Faults
}
