package settings_test

import (
	"reflect"
	"testing"

	"github.com/latchkey/latchkey/settings"
)

// Only the store sets the fields about stored state: no file can claim that a secret is
// stored, and no document contains these fields.
func TestStoreFieldsAreInNoFileAndNoDocument(t *testing.T) {
	for _, of := range []any{settings.ClientSpec{}, settings.IssuerKeys{}, settings.Place{}} {
		kind, found := reflect.TypeOf(of), false
		for i := range kind.NumField() {
			field := kind.Field(i)
			if field.Name != "Stored" && field.Name != "SecretStored" {
				continue
			}
			found = true
			if field.Tag.Get("yaml") != "-" {
				t.Errorf("%s.%s can be written in a file", kind.Name(), field.Name)
			}
			if field.Tag.Get("json") != "-" && kind != reflect.TypeFor[settings.Place]() { // no document contains a Place
				t.Errorf("%s.%s is part of a document", kind.Name(), field.Name)
			}
		}
		if !found {
			t.Errorf("%s has no such field", kind.Name())
		}
	}
}
