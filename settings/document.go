package settings

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// Document holds the settings of one object as they were written: each key with its
// value as JSON. It has no entry for an omitted key. Null restores the default; a
// stored document contains no null.
type Document map[string]json.RawMessage

// Written records how a file or a request gives the keys of an object: true for a
// value, false for null. It has no entry for an omitted key. It is nil in a spec
// that Go code has built, whose non-zero fields count as written.
type Written map[string]bool

// Given is how a document gives one key.
type Given int

const (
	Absent Given = iota // omitted: the stored value stays
	Null                // null: the default is restored
	Value
)

// Given returns how the document gives a setting that has several keys. zero
// reports whether the field is empty, for a spec that Go code has built.
func (w Written) Given(zero bool, keys ...string) Given {
	if w == nil && !zero {
		return Value
	}
	how := Absent
	for _, key := range keys {
		switch set, named := w[key]; {
		case named && set:
			return Value
		case named:
			how = Null
		}
	}
	return how
}

// NewDocument returns the document of the fields of settings, a struct, that were
// written, under their JSON names.
func NewDocument(settings any, written Written) (Document, error) {
	doc := Document{}
	v := reflect.ValueOf(settings)
	for i := range v.NumField() {
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if key == "" || key == "-" {
			continue
		}
		switch written.Given(v.Field(i).IsZero(), key) {
		case Null:
			doc[key] = json.RawMessage("null")
		case Value:
			text, err := json.Marshal(v.Field(i).Interface())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			doc[key] = text
		}
	}
	return doc, nil
}

// Merge returns the stored document d with the changes in written: a value replaces
// the stored value as a whole, null removes it, and an omitted key stays.
func (d Document) Merge(written Document) Document {
	merged := maps.Clone(d)
	if merged == nil {
		merged = Document{}
	}
	for key, v := range written {
		if isNull(v) {
			delete(merged, key)
		} else {
			merged[key] = v
		}
	}
	return merged
}

// WithoutNull returns the document as it is stored, without null values.
func (d Document) WithoutNull() Document { return Document{}.Merge(d) }

// Decode decodes the document into settings, a pointer to a zero struct. It ignores
// keys that this release does not know.
func (d Document) Decode(settings any) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, settings)
}

func isNull(v json.RawMessage) bool { return string(v) == "null" }

// Text returns the document as JSON.
func (d Document) Text() (string, error) {
	text, err := json.Marshal(d)
	return string(text), err
}
