package decode

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/latchkey/latchkey/settings"
)

// jsonValue returns n as a value that JSON can represent: nil, bool, int64, float64,
// string, []any or map[string]any. A date becomes its text.
func (d *decoder) jsonValue(path string, n *yaml.Node) any {
	n = target(n)
	if !d.enter(n) {
		return nil
	}
	defer d.leave()
	switch n.Kind {
	case yaml.MappingNode:
		object := map[string]any{}
		for _, p := range d.pairs(path, n) {
			object[p.key] = d.jsonValue(settings.Member(path, p.key), p.value)
		}
		return object
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = d.jsonValue(path+"["+strconv.Itoa(i)+"]", item)
		}
		return list
	default:
		return d.jsonScalar(path, n)
	}
}

func (d *decoder) jsonScalar(path string, n *yaml.Node) any {
	switch tag := n.ShortTag(); {
	case tag == "!!null":
		return nil
	case tag == "!!bool":
		return strings.EqualFold(n.Value, "true")
	case tag == "!!int" || tag == "!!float":
		return d.jsonNumber(path, n.Value)
	case !plain(n):
		d.faults.Add(path, "must be a value that JSON can represent")
		return nil
	default:
		return n.Value
	}
}

// jsonNumber rejects numbers of YAML that are not numbers of JSON: 0042 (octal 34 in
// YAML), 1_000, .inf, and integers that would lose digits.
func (d *decoder) jsonNumber(path, text string) any {
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil && json.Valid([]byte(text)) {
		return whole
	}
	if number, err := strconv.ParseFloat(text, 64); err == nil && json.Valid([]byte(text)) && strings.ContainsAny(text, ".eE") {
		return number
	}
	d.faults.Add(path, "is not a number in JSON; put it in quotes to use it as text")
	return nil
}

// rawJSON decodes n as JSON: it converts a mapping or list; a text must be valid JSON.
func (d *decoder) rawJSON(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.ScalarNode {
		var compact bytes.Buffer
		if json.Compact(&compact, []byte(n.Value)) != nil {
			d.faults.Add(path, "must be JSON")
			return
		}
		v.SetBytes(compact.Bytes())
		return
	}
	if text, err := json.Marshal(d.jsonValue(path, n)); err == nil {
		v.SetBytes(text)
	}
}
