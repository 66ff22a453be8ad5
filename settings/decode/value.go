package decode

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/latchkey/latchkey/settings"
)

// decoder decodes a YAML tree into Go values and records every fault with its path.
// yaml.v3 would report only the first fault, or only a line.
type decoder struct {
	faults  settings.Faults
	json    bool // the text is JSON
	work    int
	most    int // work
	depth   int
	overrun error // why decoding stopped early
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawJSON         = reflect.TypeFor[json.RawMessage]()
	oneOrMany       = reflect.TypeFor[OneOrMany]()
)

// value decodes n into v. Null leaves v as it is.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value) {
	n = target(n)
	if !d.enter(n) {
		return
	}
	defer d.leave()
	switch {
	case isNull(n):
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(path, n, v.Elem())
	case v.Type() == rawJSON:
		d.rawJSON(path, n, v)
	case v.Type().Implements(oneOrMany) && n.Kind == yaml.ScalarNode:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		d.scalar(path, n, v.Index(0))
	case v.Addr().Type().Implements(textUnmarshaler):
		d.text(path, n, v)
	case v.Kind() == reflect.Struct:
		d.structure(path, n, v)
	case v.Kind() == reflect.Map:
		d.mapping(path, n, v)
	case v.Kind() == reflect.Slice:
		d.list(path, n, v)
	case v.Kind() == reflect.Interface:
		if value := d.jsonValue(path, n); value != nil {
			v.Set(reflect.ValueOf(value))
		}
	default:
		d.scalar(path, n, v)
	}
}

// text decodes a scalar into an encoding.TextUnmarshaler.
func (d *decoder) text(path string, n *yaml.Node, v reflect.Value) {
	if !plain(n) || d.json && n.ShortTag() != "!!str" {
		d.faults.Add(path, "must be text")
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
		d.faults.Add(path, "%v", err)
	}
}

// scalar decodes a string, a bool or an integer. A string needs no quotes even where
// YAML would parse a number or a date: scalar keeps the text of the file.
func (d *decoder) scalar(path string, n *yaml.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if !plain(n) || d.json && n.ShortTag() != "!!str" {
			d.faults.Add(path, "must be text")
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			d.faults.Add(path, "must be true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	default:
		number, err := strconv.ParseInt(n.Value, 10, 64)
		switch {
		case errors.Is(err, strconv.ErrRange) || err == nil && v.OverflowInt(number):
			d.faults.Add(path, "must be a whole number of at most 18 digits")
			return
		case n.ShortTag() != "!!int" || err != nil:
			d.faults.Add(path, "must be a whole number")
			return
		}
		v.SetInt(number)
	}
}

// list decodes a sequence.
func (d *decoder) list(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.faults.Add(path, "must be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.member(path+"["+strconv.Itoa(i)+"]", item, v.Index(i))
	}
}

// member decodes an item of a list or map, which must not be null.
func (d *decoder) member(path string, n *yaml.Node, v reflect.Value) {
	if isNull(target(n)) && v.Kind() != reflect.Interface {
		d.faults.Add(path, "is empty")
		return
	}
	d.value(path, n, v)
}
