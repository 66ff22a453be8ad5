// Package decode decodes YAML or JSON that an operator has written into the structs of
// package settings and other structs with yaml tags. It is strict: unknown and
// duplicate keys are faults. It reports every fault with its path and without a value.
package decode

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/latchkey/latchkey/settings"
)

// Document is a parsed text that has not been decoded yet.
type Document struct {
	root *yaml.Node // nil: the text is empty
	json bool
	size int // of the text
}

// OneOrMany is implemented by lists whose single element a document may give as a
// scalar.
type OneOrMany interface{ OneOrMany() }

// YAML parses a text with at most one YAML document.
func YAML(text []byte) (*Document, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return &Document{}, nil
	case err != nil:
		return nil, syntaxError(err)
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode && !isNull(root) {
		return nil, errors.New("must be a mapping of settings")
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, errors.New("must be a single YAML document")
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(err)
	}
	return &Document{root: root, size: len(text)}, nil
}

// syntaxError replaces the only parser message that quotes the file: YAML parses an
// unquoted secret that begins with * as an alias.
func syntaxError(err error) error {
	if strings.Contains(err.Error(), "unknown anchor") {
		return errors.New("an alias (*name) has no anchor; quote a value that begins with *")
	}
	return err
}

// JSON parses a text with one JSON object. It does not convert numbers or booleans to
// text: a text setting must be a JSON string.
func JSON(text []byte) (*Document, error) {
	switch {
	case !json.Valid(text):
		return nil, errors.New("must be JSON")
	case !utf8.Valid(text) || halfSurrogate(text):
		return nil, errors.New("must be UTF-8, and \\u escapes must be whole characters")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	root, err := readJSON(d, 0)
	if err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("must be a JSON object")
	}
	return &Document{root: root, json: true, size: len(text)}, nil
}

// halfSurrogate reports whether valid JSON has a \ud800 to \udfff that is not part of a
// pair. encoding/json would replace it silently.
func halfSurrogate(text []byte) bool {
	unit := func(at int) rune { // of the escape that begins at a position; -1: there is none
		if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(text[at+2:at+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if u := unit(i); utf16.IsSurrogate(u) {
			if utf16.DecodeRune(u, unit(i+6)) == utf8.RuneError {
				return true
			}
			i += 6
		}
		i++ // the escaped character
	}
	return false
}

// readJSON returns the next value as a YAML node. The text must be valid JSON.
func readJSON(d *json.Decoder, depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	scalar := func(tag, value string) (*yaml.Node, error) {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}, nil
	}
	switch token := token.(type) {
	case nil:
		return scalar("!!null", "null")
	case bool:
		return scalar("!!bool", fmt.Sprint(token))
	case json.Number:
		if strings.ContainsAny(token.String(), ".eE") {
			return scalar("!!float", token.String())
		}
		return scalar("!!int", token.String())
	case string:
		return scalar("!!str", token)
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if token == json.Delim('{') {
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	for d.More() {
		if n.Kind == yaml.MappingNode {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ := scalar("!!str", key.(string))
			n.Content = append(n.Content, name)
		}
		item, err := readJSON(d, depth+1)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, item)
	}
	_, err = d.Token() // the closing bracket
	return n, err
}

// Keys returns the keys of the document. The value is false for a key that is null.
func (d *Document) Keys() map[string]bool {
	keys := map[string]bool{}
	if d.root == nil {
		return keys
	}
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		keys[d.root.Content[i].Value] = !isNull(d.root.Content[i+1])
	}
	return keys
}

// Into decodes the document into v, a pointer to a struct. The paths of the faults
// begin with path. It returns an error if the aliases or the depth of the document
// exceed the limits.
func (d *Document) Into(path string, v any) (settings.Faults, error) {
	if d.root == nil {
		return nil, nil
	}
	r := decoder{json: d.json, most: d.mostWork()}
	r.value(path, d.root, reflect.ValueOf(v).Elem())
	return r.faults, r.overrun
}

// Check returns the faults of the document that do not depend on the struct: duplicate
// keys, and values that JSON cannot represent.
func (d *Document) Check(path string) settings.Faults {
	if d.root == nil {
		return nil
	}
	r := decoder{json: d.json, most: d.mostWork()}
	r.jsonValue(path, d.root)
	if r.overrun != nil {
		r.faults.Add(path, "%v", r.overrun)
	}
	return r.faults
}

// Extract returns the members of the document that have one of the keys, as YAML. A
// member at a path of `texts` loses the suffix _file and gets that text as its value.
func (d *Document) Extract(keys []string, texts map[string]string) ([]byte, error) {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	e := extractor{texts: texts}
	if d.root != nil && d.root.Kind == yaml.MappingNode {
		for i := 0; i < len(d.root.Content); i += 2 {
			if key := d.root.Content[i]; slices.Contains(keys, key.Value) {
				out.Content = append(out.Content, e.copy("", key), e.copy(key.Value, d.root.Content[i+1]))
			}
		}
	}
	if e.nodes > maxNodes {
		return nil, errors.New("is too large")
	}
	return yaml.Marshal(out)
}

// maxNodes bounds what Extract returns.
const maxNodes = 1 << 18

// extractor copies nodes. It replaces aliases by what they stand for, because their
// anchors may lie outside.
type extractor struct {
	texts map[string]string
	nodes int
}

func (e *extractor) copy(path string, n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	c := *n
	c.Anchor, c.Content, c.HeadComment, c.LineComment, c.FootComment = "", nil, "", "", ""
	if e.nodes++; e.nodes > maxNodes {
		return &c
	}
	for i := 0; i < len(n.Content); i++ {
		if n.Kind != yaml.MappingNode {
			at := path
			if n.Kind == yaml.SequenceNode {
				at = fmt.Sprintf("%s[%d]", path, i)
			}
			c.Content = append(c.Content, e.copy(at, n.Content[i]))
			continue
		}
		key, value := e.copy("", n.Content[i]), n.Content[i+1]
		i++
		at := settings.Member(path, key.Value)
		text, replaced := e.texts[at]
		switch {
		case replaced:
			key.Value = strings.TrimSuffix(key.Value, "_file")
			value = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Style: yaml.DoubleQuotedStyle}
		case key.Value == "<<": // what is merged belongs to this mapping
			at = path
		}
		c.Content = append(c.Content, key, e.copy(at, value))
	}
	return &c
}

// YAMLOf returns a JSON document as YAML. The keys of an object come in the order of
// `first`, then by name.
func YAMLOf(text []byte, first ...string) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	root, err := readJSON(d, 0)
	if err != nil {
		return nil, err
	}
	arrange(root, first)
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(root), e.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// arrange sorts the keys of objects.
func arrange(n *yaml.Node, first []string) {
	if n.Kind == yaml.MappingNode {
		type pair struct{ key, value *yaml.Node }
		pairs := make([]pair, len(n.Content)/2)
		for i := range pairs {
			pairs[i] = pair{n.Content[2*i], n.Content[2*i+1]}
		}
		rank := func(p pair) int {
			if at := slices.Index(first, p.key.Value); at >= 0 {
				return at
			}
			return len(first)
		}
		slices.SortStableFunc(pairs, func(a, b pair) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.key.Value, b.key.Value))
		})
		for i, p := range pairs {
			n.Content[2*i], n.Content[2*i+1] = p.key, p.value
		}
	}
	for _, inner := range n.Content {
		arrange(inner, first)
	}
}
