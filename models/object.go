package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// ParseObject reads a JSON object. Whole numbers become int64 where they fit,
// so that an id of 17 digits survives storage and CEL sees an int.
func ParseObject(text []byte) (map[string]any, error) {
	return parseObject(text, func(n json.Number) (any, error) { return n.Float64() })
}

// VastNumber is a number that fits neither an int64 nor, as a fraction, a
// float64. JSON allows it (RFC 8259 §6), but once rounded it could equal a
// different number. Expressions that use one fail.
type VastNumber struct{ Text string }

// ParseClaims is ParseObject for the claims of a token. A number that cannot
// be represented exactly becomes a VastNumber instead of an error or a rounded
// value, since it may be in a claim that nobody uses.
func ParseClaims(text []byte) (map[string]any, error) {
	return parseObject(text, func(n json.Number) (any, error) {
		if f, err := n.Float64(); err == nil && strings.ContainsAny(n.String(), ".eE") {
			return f, nil
		}
		return VastNumber{n.String()}, nil
	})
}

// parseObject reads a JSON object. other converts numbers that do not fit an
// int64.
func parseObject(text []byte, other func(json.Number) (any, error)) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the object")
	}
	if object == nil {
		return nil, errors.New("not an object")
	}
	_, err := plainNumbers(object, other)
	return object, err
}

// plainNumbers replaces each json.Number by an int64 or by the result of other.
func plainNumbers(v any, other func(json.Number) (any, error)) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i, nil
		}
		return other(v)
	case []any:
		for i := range v {
			if v[i], err = plainNumbers(v[i], other); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = plainNumbers(v[k], other); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func unmarshalObject(text string, into *map[string]any) (err error) {
	if text == "" || text == "{}" {
		return nil
	}
	*into, err = ParseObject([]byte(text))
	return err
}
