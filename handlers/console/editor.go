package console

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/settings"
)

// The kinds of a setting in a form.
const (
	textField  = "text"
	wordsField = "words" // a list of words without spaces, such as scopes
	linesField = "lines" // a list, one item a line
	checkField = "check" // a list of values to check
	flagField  = "flag"  // true or absent
	pickField  = "pick"  // one of several values, or absent
	pairsField = "pairs" // names with a value, one pair a line
)

// field is one setting in a form. The form sends its name.
type field struct {
	Name, Label, Hint, Kind string
	Options                 []choice
	Placeholder             string // what applies without a value

	Value    string // as the form shows it
	On       bool   // of a flag
	ReadOnly bool
}

// choice is a value of a setting.
type choice struct {
	Value, Label, Hint string
	On                 bool
}

// show returns the field with the value of the settings.
func (f field) show(stored json.RawMessage) field {
	var list []string
	switch f.Kind {
	case flagField:
		_ = json.Unmarshal(stored, &f.On)
	case wordsField, linesField, checkField:
		_ = json.Unmarshal(stored, &list)
	case pairsField:
		var pairs map[string]string
		_ = json.Unmarshal(stored, &pairs)
		for _, name := range slices.Sorted(maps.Keys(pairs)) {
			list = append(list, name+" = "+pairs[name])
		}
	default:
		_ = json.Unmarshal(stored, &f.Value)
	}
	return f.showList(list)
}

// showList sets the value of a field of several values, and which options are chosen.
func (f field) showList(list []string) field {
	switch f.Kind {
	case wordsField:
		f.Value = strings.Join(list, " ")
	case linesField, pairsField:
		f.Value = strings.Join(list, "\n")
	}
	options := make([]choice, len(f.Options))
	for i, o := range f.Options {
		o.On = f.Kind == pickField && o.Value == f.Value
		for _, value := range list {
			o.On = o.On || value == o.Value
		}
		options[i] = o
	}
	f.Options = options
	return f
}

// typed returns the field as the operator has filled it in, and its value in the body of
// a request. nil: the setting is absent.
func (f field) typed(form func(string) []string) (field, any) {
	values := form(f.Name)
	first := ""
	if len(values) > 0 {
		first = strings.TrimSpace(values[0])
	}
	switch f.Kind {
	case flagField:
		if f.On = first != ""; f.On {
			return f, true
		}
		return f, nil
	case wordsField:
		values = strings.Fields(first)
	case linesField, pairsField:
		values = nil
		for line := range strings.Lines(first) {
			if line = strings.TrimSpace(line); line != "" {
				values = append(values, line)
			}
		}
	case checkField:
	default:
		f.Value = first
		if f = f.showList(nil); first == "" {
			return f, nil
		}
		return f, first
	}
	f = f.showList(values)
	if len(values) == 0 {
		return f, nil
	}
	if f.Kind != pairsField {
		return f, values
	}
	pairs := map[string]string{}
	for _, line := range values {
		name, value, _ := strings.Cut(line, "=")
		pairs[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return f, pairs
}

// changes returns the fields as the operator has filled them in, and the members of a
// merge patch (RFC 7396) for those that differ from the stored settings.
func changes(fields []field, stored settings.Document, form func(string) []string) ([]field, map[string]any, error) {
	list, patch := make([]field, len(fields)), map[string]any{}
	for i, f := range fields {
		var value any
		list[i], value = f.typed(form)
		text, err := json.Marshal(value)
		if err != nil {
			return nil, nil, err
		}
		before := []byte(stored[f.Name])
		var parsed any
		if len(before) > 0 && json.Unmarshal(before, &parsed) == nil {
			if before, err = json.Marshal(parsed); err != nil {
				return nil, nil, err
			}
		}
		if none := len(before) == 0 || string(before) == "null" || string(before) == "false" || string(before) == "[]"; none && value == nil {
			continue
		}
		if bytes.Equal(before, text) {
			continue
		}
		if pairs, is := value.(map[string]string); is { // the others of a merge patch would stay
			value = withoutOthers(pairs, parsed)
		}
		patch[f.Name] = value
	}
	return list, patch, nil
}

// shown returns the fields with the values of the settings.
func shown(fields []field, stored settings.Document) []field {
	list := make([]field, len(fields))
	for i, f := range fields {
		list[i] = f.show(stored[f.Name])
	}
	return list
}

// named returns a field of a list.
func named(fields []field, name string) *field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	return nil
}

// withoutOthers returns the pairs, with null for each name that is stored and not among
// them.
func withoutOthers(pairs map[string]string, stored any) map[string]any {
	all := map[string]any{}
	if before, is := stored.(map[string]any); is {
		for name := range before {
			all[name] = nil
		}
	}
	for name, value := range pairs {
		all[name] = value
	}
	return all
}
