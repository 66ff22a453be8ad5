package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// maxNesting bounds how deep JSON is that comes from outside.
const maxNesting = 16

// StrictObject accepts one JSON object in valid UTF-8, without duplicate
// member names at any depth and not nested beyond the limit (RFC 7519 §4). Of
// two members with one name, two readers may see a different one.
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

// memberReader looks for duplicate members. What it reads is known to be valid,
// which keeps it short and fast.
type memberReader struct{ rest []byte }

// peek is the first byte of what comes next.
func (r *memberReader) peek() byte {
	r.rest = bytes.TrimLeft(r.rest, " \t\r\n")
	return r.rest[0]
}

// value reads a value that lies so deep.
func (r *memberReader) value(depth int) error {
	switch open := r.peek(); open {
	case '{', '[':
		if depth > maxNesting {
			return errors.New("nested too deeply")
		}
		r.rest = r.rest[1:]
		return r.members(open == '{', depth)
	case '"':
		r.text()
	default: // a number or a word
		r.rest = r.rest[bytes.IndexAny(r.rest, ",]} \t\r\n"):]
	}
	return nil
}

// members reads what an object or a list has, and its end.
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
				return errors.New("duplicate member")
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

// text reads a string, and returns it with its quotes.
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

// unescaped is what a string says: two spellings may be one name.
func unescaped(quoted []byte) (name string, err error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	err = json.Unmarshal(quoted, &name)
	return name, err
}
