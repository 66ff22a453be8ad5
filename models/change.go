package models

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Change is one difference between the wanted and the stored configuration.
type Change struct {
	Created bool
	Removed bool
	Tenant  string
	Kind    string // tenant, client, issuer or user; file: the stored revision
	ID      string
	Act     string // suspended or resumed; empty for other changes
	Reason  string // the reason that the actor gave
	Fields  []FieldChange
	Notes   []string // warnings: what loosens security, renames users, is looser than the default, or has no effect
}

// kindFile is the Kind of a change of the stored revision.
const kindFile = "file"

// FieldChange is a field whose value changes. From and To of a secret are empty.
type FieldChange struct {
	Name     string
	From, To string // JSON; empty where the field is absent
}

// Print writes the change for a person to read:
//
//	~ default/client web
//	    access_token_ttl: "5m" → "10m"
func (c Change) Print(w io.Writer) {
	sign := "~"
	switch {
	case c.Created:
		sign = "+"
	case c.Removed:
		sign = "-"
	}
	switch c.Kind {
	case KindTenant:
		fmt.Fprintf(w, "%s tenant %s\n", sign, c.ID)
	case kindFile:
		fmt.Fprintf(w, "%s file\n", sign)
	default:
		fmt.Fprintf(w, "%s %s/%s %s\n", sign, c.Tenant, c.Kind, c.ID)
	}
	for _, f := range c.Fields {
		switch {
		case f.From == "" && f.To == "":
			fmt.Fprintf(w, "    %s: changed\n", f.Name)
		case f.From == "":
			fmt.Fprintf(w, "    %s: %s\n", f.Name, readable(f.To))
		case f.To == "":
			fmt.Fprintf(w, "    %s: %s → (default)\n", f.Name, readable(f.From))
		default:
			fmt.Fprintf(w, "    %s: %s → %s\n", f.Name, readable(f.From), readable(f.To))
		}
	}
	for _, note := range c.Notes {
		fmt.Fprintf(w, "    ! %s\n", note)
	}
}

// readable undoes the escapes of encoding/json for the operators of an expression.
var readable = strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace

// diff compares two documents field by field; nested fields have dotted names.
// An object that has just been created is compared with nothing.
func diff(created bool, from, to any) ([]FieldChange, error) {
	if created {
		from = nil
	}
	a, err := flatten(from)
	if err != nil {
		return nil, err
	}
	b, err := flatten(to)
	if err != nil {
		return nil, err
	}
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var changes []FieldChange
	for _, name := range names {
		if a[name] != b[name] {
			changes = append(changes, FieldChange{name, a[name], b[name]})
		}
	}
	return changes, nil
}

// flatten returns the fields of v as JSON. It leaves out null, which means
// absent.
func flatten(v any) (map[string]string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	for name, value := range object {
		var nested map[string]json.RawMessage
		switch {
		case string(value) == "null":
		case strings.HasPrefix(string(value), "{") && json.Unmarshal(value, &nested) == nil:
			for inner, v := range nested {
				fields[name+"."+inner] = string(v)
			}
		default:
			fields[name] = string(value)
		}
	}
	return fields, nil
}
