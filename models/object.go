package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// ParseObject reads a JSON object. Whole numbers become int64 where they fit,
// so that an id of 17 digits survives storage and CEL sees an int.
func ParseObject(text []byte) (map[string]any, error) {
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
	return plainNumbers(object).(map[string]any), nil
}

// plainNumbers replaces json.Number by int64 or float64.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}

func unmarshalObject(text string, into *map[string]any) (err error) {
	if text == "" || text == "{}" {
		return nil
	}
	*into, err = ParseObject([]byte(text))
	return err
}
