package decode

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/latchkey/latchkey/settings"
)

// pair is a key of a mapping with its value.
type pair struct {
	key   string
	value *yaml.Node
}

// structure decodes a mapping into a struct, and rejects keys without a yaml tag. It
// fills settings.Place, which distinguishes omitted keys from empty ones.
func (d *decoder) structure(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.faults.Add(path, "must be a mapping")
		return
	}
	fields := map[string]reflect.Value{}
	collect(v, fields)
	written := settings.Written{}
	if place := v.FieldByName("Place"); place.IsValid() && place.Type() == reflect.TypeFor[settings.Place]() {
		place.Set(reflect.ValueOf(settings.Place{Path: path, Written: written}))
	}
	for _, p := range d.pairs(path, n) {
		at := settings.Member(path, p.key)
		if to, known := fields[p.key]; known {
			written[p.key] = !isNull(target(p.value))
			d.value(at, p.value, to)
		} else {
			d.faults.Add(at, "unknown key%s", Suggest(p.key, slices.Sorted(maps.Keys(fields))))
		}
	}
}

// collect adds the fields of v, and of the structs inlined in it, by key.
func collect(v reflect.Value, fields map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch key, option, _ := strings.Cut(f.Tag.Get("yaml"), ","); {
		case option == "inline":
			collect(v.Field(i), fields)
		case key != "" && key != "-":
			fields[key] = v.Field(i)
		}
	}
}

// mapping decodes a mapping with arbitrary keys into a map.
func (d *decoder) mapping(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.faults.Add(path, "must be a mapping")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range d.pairs(path, n) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.member(settings.Member(path, p.key), p.value, item)
		v.SetMapIndex(reflect.ValueOf(p.key), item)
	}
}

// pairs returns the pairs of a mapping, in the order of the file. Merged pairs (<<)
// come last, except those whose keys the mapping itself has.
func (d *decoder) pairs(path string, n *yaml.Node) []pair {
	var pairs []pair
	var merged *yaml.Node
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := target(n.Content[i]), n.Content[i+1]
		d.charge(key)
		switch {
		case !plain(key):
			d.faults.Add(path, "has a key that is not text")
		case seen[key.Value]:
			d.faults.Add(settings.Member(path, key.Value), "occurs twice")
		case key.ShortTag() == "!!merge":
			merged = value
			seen[key.Value] = true
		default:
			pairs = append(pairs, pair{key.Value, value})
			seen[key.Value] = true
		}
	}
	if merged == nil {
		return pairs
	}
	for _, p := range d.merged(path, merged) {
		if !seen[p.key] {
			seen[p.key] = true
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// merged returns the pairs of a merge key: those of a mapping, or of a list of
// mappings, in which earlier ones take precedence.
func (d *decoder) merged(path string, n *yaml.Node) []pair {
	n = target(n)
	if !d.enter(n) {
		return nil
	}
	defer d.leave()
	var pairs []pair
	switch n.Kind {
	case yaml.MappingNode:
		pairs = d.pairs(path, n)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			pairs = append(pairs, d.merged(path, item)...)
		}
	default:
		d.faults.Add(settings.Member(path, "<<"), "must be a mapping, or a list of them")
	}
	return pairs
}
