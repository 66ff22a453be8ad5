package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"unicode/utf8"
)

// FuzzStrictObject compares the result with that of a decoder that reads every
// token by itself.
func FuzzStrictObject(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		want := slowStrictObject(text)
		if got := StrictObject(text); (got == nil) != (want == nil) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	})
}

func slowStrictObject(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	if err := slowMembers(d, json.Delim('{'), 1); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the object")
	}
	return nil
}

func slowMembers(d *json.Decoder, open json.Delim, depth int) error {
	if depth > maxNesting {
		return errors.New("nested too deeply")
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if seen[name.(string)] {
				return errors.New("duplicate member")
			}
			seen[name.(string)] = true
		}
		value, err := d.Token()
		if err != nil {
			return err
		}
		if value, nested := value.(json.Delim); nested {
			if err := slowMembers(d, value, depth+1); err != nil {
				return err
			}
		}
	}
	_, err := d.Token()
	return err
}
