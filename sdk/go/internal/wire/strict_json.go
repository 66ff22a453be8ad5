package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxNesting bounds the nesting depth of JSON from outside.
const maxNesting = 16

// StrictObject checks that text is one JSON object in valid UTF-8, without
// duplicate member names at any depth, and not nested deeper than the limit
// (RFC 7519 §4). Given two members with one name, two parsers may each use a
// different one.
func StrictObject(text []byte) error {
	if !utf8.Valid(text) || !json.Valid(text) {
		return errors.New("malformed JSON")
	}
	r := memberReader{text}
	if r.peek() != '{' {
		return errors.New("not a JSON object")
	}
	return r.value(1)
}

// memberReader finds duplicate members. It only reads text that is valid JSON,
// which keeps it short and fast.
type memberReader struct{ rest []byte }

// peek skips white space and returns the next byte.
func (r *memberReader) peek() byte {
	r.rest = bytes.TrimLeft(r.rest, " \t\r\n")
	return r.rest[0]
}

// value reads one value at a nesting depth.
func (r *memberReader) value(depth int) error {
	switch open := r.peek(); open {
	case '{', '[':
		if depth > maxNesting {
			return fmt.Errorf("JSON nested deeper than %d levels", maxNesting)
		}
		r.rest = r.rest[1:]
		return r.members(open == '{', depth)
	case '"':
		r.text()
	default: // a number, true, false or null
		r.rest = r.rest[bytes.IndexAny(r.rest, ",]} \t\r\n"):]
	}
	return nil
}

// members reads the rest of an object or array, including its end.
func (r *memberReader) members(named bool, depth int) error {
	var seen map[string]bool
	for {
		switch r.peek() {
		case '}', ']':
			r.rest = r.rest[1:]
			return nil
		case ',':
			r.rest = r.rest[1:]
			continue
		}
		if named {
			name, err := unescaped(r.text())
			if err != nil || seen[name] {
				return errors.New("duplicate JSON member name")
			}
			if seen == nil {
				seen = make(map[string]bool, 16)
			}
			seen[name] = true
			r.peek()
			r.rest = r.rest[1:] // the colon
		}
		if err := r.value(depth + 1); err != nil {
			return err
		}
	}
}

// text reads a string and returns it with its quotes.
func (r *memberReader) text() []byte {
	end := 1
	for ; r.rest[end] != '"'; end++ {
		if r.rest[end] == '\\' {
			end++
		}
	}
	s := r.rest[:end+1]
	r.rest = r.rest[end+1:]
	return s
}

// unescaped decodes a quoted string: names that are escaped differently may be
// equal.
func unescaped(quoted []byte) (name string, err error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	err = json.Unmarshal(quoted, &name)
	return name, err
}
