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
	boolField  = "bool"  // true (the default) or false
	pickField  = "pick"  // one of several values, or absent
	pairsField = "pairs" // names with a value, one pair a line
	classField = "class" // classes of assurance in their order, one a line
	wholeField = "whole" // a whole number
)

// field is one setting in a form. The form sends its name.
type field struct {
	Name              string // of the setting; a.b is the member b of the setting a
	Label, Hint, Kind string
	Options           []choice
	Placeholder       string // what applies without a value
	Default           string // the option that applies without a value
	None              string // the label of a box that makes a list empty instead of absent
	Group             string // its title below "More settings"; empty: the field is above
	Users             bool   // only for a client that has users
	Owner             bool   // only a key with the role owner may change it
	Value             string // as the form shows it
	On                bool   // of a flag, or of the box None
	ReadOnly          bool
}

// Pointer returns the JSON Pointer of the setting in the body of a request.
func (f field) Pointer() string { return "/" + strings.ReplaceAll(f.Name, ".", "/") }

// IsSet reports whether the setting has a value.
func (f field) IsSet() bool {
	if f.Kind == checkField || f.Kind == flagField {
		return f.On || slices.ContainsFunc(f.Options, func(o choice) bool { return o.On })
	}
	return f.On || f.Value != f.Default
}

// of returns the stored value of the setting, or nil.
func (f field) of(stored settings.Document) json.RawMessage {
	object, member, inside := strings.Cut(f.Name, ".")
	if !inside {
		return stored[f.Name]
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(stored[object], &members)
	return members[member]
}

// put sets the setting in the body of a request.
func (f field) put(body map[string]any, value any) {
	object, member, inside := strings.Cut(f.Name, ".")
	if !inside {
		body[f.Name] = value
		return
	}
	members, _ := body[object].(map[string]any)
	if members == nil {
		members = map[string]any{}
		body[object] = members
	}
	members[member] = value
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
		f.On = f.None != "" && list != nil && len(list) == 0
	case boolField, wholeField:
		if f.Value = string(stored); f.Value == "null" {
			f.Value = ""
		}
	case classField:
		var classes []settings.ACRClass
		_ = json.Unmarshal(stored, &classes)
		for _, c := range classes {
			list = append(list, c.Value+" = "+c.When)
		}
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
	case linesField, pairsField, classField:
		f.Value = strings.Join(list, "\n")
	}
	if f.Value == "" {
		f.Value = f.Default
	}
	options := make([]choice, len(f.Options))
	for i, o := range f.Options {
		o.On = (f.Kind == pickField || f.Kind == boolField) && o.Value == f.Value
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
	case boolField, wholeField:
		f.Value = first
		var value any
		if f = f.showList(nil); f.Value == f.Default {
			return f, nil
		} else if json.Unmarshal([]byte(first), &value) != nil {
			value = first // the operation refuses it
		}
		return f, value
	case linesField, pairsField, classField:
		values = nil
		for line := range strings.Lines(first) {
			if line = strings.TrimSpace(line); line != "" {
				values = append(values, line)
			}
		}
	case checkField:
	default:
		f.Value = first
		if f = f.showList(nil); f.Value == f.Default {
			return f, nil
		}
		return f, first
	}
	f = f.showList(values)
	if len(values) == 0 {
		if f.On = f.None != "" && len(form(f.noneName())) > 0; f.On {
			return f, []string{}
		}
		return f, nil
	}
	switch f.Kind {
	case pairsField:
		pairs := map[string]string{}
		for _, line := range values {
			name, value, _ := strings.Cut(line, "=")
			pairs[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		return f, pairs
	case classField:
		var classes []settings.ACRClass
		for _, line := range values {
			value, when, spaced := strings.Cut(line, " = ") // a URN may contain a =
			if !spaced {
				value, when, _ = strings.Cut(line, "=")
			}
			classes = append(classes, settings.ACRClass{Value: strings.TrimSpace(value), When: strings.TrimSpace(when)})
		}
		return f, classes
	}
	return f, values
}

// noneName returns the name of the box None in the form.
func (f field) noneName() string { return f.Name + "-none" }

// changes returns the fields as the operator has filled them in, and the members of a
// merge patch (RFC 7396) for those that differ from the stored settings.
func changes(fields []field, stored settings.Document, form func(string) []string) ([]field, map[string]any, error) {
	list, patch := make([]field, len(fields)), map[string]any{}
	given := map[string]bool{} // the settings with members that have a value
	for i, f := range fields {
		if f.Owner && f.ReadOnly && len(form(f.Name)) == 0 { // a browser does not send a disabled field
			list[i] = f
			continue
		}
		var value any
		list[i], value = f.typed(form)
		if object, _, _ := strings.Cut(f.Name, "."); value != nil {
			given[object] = true
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, nil, err
		}
		before := []byte(f.of(stored))
		var parsed any
		if len(before) > 0 && json.Unmarshal(before, &parsed) == nil {
			if before, err = json.Marshal(parsed); err != nil {
				return nil, nil, err
			}
		}
		if value == nil && f.absent(before) || bytes.Equal(before, text) {
			continue
		}
		if pairs, is := value.(map[string]string); is { // the others of a merge patch would stay
			value = withoutOthers(pairs, parsed)
		}
		f.put(patch, value)
	}
	for name, value := range patch {
		if members, is := value.(map[string]any); is && !given[name] && allNull(members) {
			patch[name] = nil
		}
	}
	return list, patch, nil
}

// absent reports whether a stored value means the same as none.
func (f field) absent(stored []byte) bool {
	switch text := string(stored); text {
	case "", "null":
		return true
	case "false":
		return f.Kind == flagField
	case "[]":
		return f.None == ""
	default:
		return f.Default != "" && strings.Trim(text, `"`) == f.Default
	}
}

func allNull(members map[string]any) bool {
	for _, value := range members {
		if value != nil {
			return false
		}
	}
	return true
}

// shown returns the fields with the values of the settings.
func shown(fields []field, stored settings.Document) []field {
	list := make([]field, len(fields))
	for i, f := range fields {
		list[i] = f.show(f.of(stored))
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

// fieldGroup is a part of a form with the fields of one group.
type fieldGroup struct {
	Title  string
	Fields []shownField // side by side
	Flags  []shownField // below
}

// shownField is a field with what is wrong with it.
type shownField struct {
	F     field
	Fault string
}

// rarer has the settings of a form that few need. They are hidden until they are wanted,
// or one of them is refused.
type rarer struct {
	Groups []fieldGroup
	Set    int // how many have a value
	Open   bool
}

// Rarer returns the fields of a form that are below "More settings".
func (v *view) Rarer(fields []field) (r rarer) {
	for _, f := range fields {
		if f.Group == "" {
			continue
		}
		if n := len(r.Groups); n == 0 || r.Groups[n-1].Title != f.Group {
			r.Groups = append(r.Groups, fieldGroup{Title: f.Group})
		}
		group, shown := &r.Groups[len(r.Groups)-1], shownField{f, v.Fault(f.Pointer())}
		if f.Kind == flagField {
			group.Flags = append(group.Flags, shown)
		} else {
			group.Fields = append(group.Fields, shown)
		}
		if f.IsSet() {
			r.Set++
		}
		r.Open = r.Open || shown.Fault != ""
	}
	return r
}

// FaultsOutside returns the faults that none of the fields and pointers covers, for the
// banner above a form.
func (v *view) FaultsOutside(fields []field, shown ...string) []string {
	for _, f := range fields {
		shown = append(shown, f.Pointer())
	}
	return v.OtherFaults(shown...)
}

// inForm returns the fields that a form has: those of a client's users only if it has
// users, and the switch "disabled" only while it is on, because turning it on ends
// sessions, which a page of its own confirms.
func inForm(fields []field, users, editable, owner bool) (list []field) {
	for _, f := range fields {
		if f.Users && !users || f.Name == "disabled" && !f.On {
			continue
		}
		f.ReadOnly = !editable || f.Owner && !owner
		list = append(list, f)
	}
	return list
}

// yesOrNo are the options of a setting that is true by default.
var yesOrNo = []choice{{Value: "true", Label: "yes (default)"}, {Value: "false", Label: "no"}}
