package settings

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// Document is what was written of one noun, and nothing else: its keys, each
// with its value as JSON. A key that was left out is not in it. Null asks for
// the default; a document that is stored has none.
type Document map[string]json.RawMessage

// Written says how a file or a request gives the keys of a noun: true with a
// value, false as null. A key that was left out is not in it. A spec that Go
// code has made has none: its fields that are not zero count as written.
type Written map[string]bool

// given is how a document treats one key.
type Given int

const (
	Absent Given = iota // it stays as it is stored
	Null                // it gets its default again
	Value
)

// given says how the first of keys that is named is given. zero says whether
// the field is empty, for a spec that Go code has made.
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

// documentOf is what a spec writes of the settings that are the fields of
// settings, a struct, under their JSON names.
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

// merge lays what was written over what is stored: a value takes the place of
// the stored one whole, null removes it, and what was left out stays.
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

// withoutNull is the document as it is stored.
func (d Document) WithoutNull() Document { return Document{}.Merge(d) }

// decode reads the document into settings, a pointer to a struct whose fields
// are still zero. What this release does not know stays in the document only.
func (d Document) Decode(settings any) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, settings)
}

func isNull(v json.RawMessage) bool { return string(v) == "null" }

// text is the document as it is stored.
func (d Document) Text() (string, error) {
	text, err := json.Marshal(d)
	return string(text), err
}
