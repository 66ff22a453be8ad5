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
	_, err := plainNumbers(object)
	return object, err
}

// plainNumbers replaces json.Number by int64 or float64. One that is neither
// is an error: as infinity it could not be stored.
func plainNumbers(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = plainNumbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = plainNumbers(v[k]); err != nil {
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
