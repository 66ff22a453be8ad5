// Package jws checks the form of signed tokens before any library parses them
// (RFC 7515, RFC 7519): three parts of canonical base64url, JSON without duplicate
// members, and no header that could select a key.
package jws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// Limits of every JWT that is received (R-JK-18), and values of typ.
const (
	MaxSize       = 16 << 10
	MaxHeaderSize = 4 << 10
	MaxDepth      = 16
	MaxKid        = 256
	TypJWT        = "JWT"
	// TypAccessToken is the typ of access tokens (RFC 9068 §2.1).
	TypAccessToken = "at+jwt"
)

// Header contains the checked members of a JWS header. Members that could
// select a key (jku, jwk, x5u, x5c) are not read.
type Header struct {
	Alg, Kid, Typ       string
	Crit, B64, Zip, Enc json.RawMessage
}

// readHeader reads members by their exact names. If it decoded into a struct,
// "ALG" would match "alg", and this package would check another header than the
// library that verifies the signature.
func readHeader(text []byte) (*Header, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	h := &Header{Crit: members["crit"], B64: members["b64"], Zip: members["zip"], Enc: members["enc"]}
	for name, field := range map[string]*string{"alg": &h.Alg, "kid": &h.Kid, "typ": &h.Typ} {
		if value, present := members[name]; present {
			if err := json.Unmarshal(value, field); err != nil {
				return nil, err
			}
		}
	}
	return h, nil
}

// Parse checks the form of a compact JWS before any library parses it
// (R-JK-08 … R-JK-10) and returns its header: three parts of canonical
// base64url, JSON without duplicate members, no critical extensions.
func Parse(token string) (*Header, error) {
	header, payload, err := Read(token)
	if err != nil {
		return nil, err
	}
	return header, CheckObject(payload)
}

// Read is like Parse, but does not check the payload. This is enough for tokens
// that only this server can have signed.
func Read(token string) (header *Header, payload []byte, err error) {
	if len(token) > MaxSize {
		return nil, nil, errors.New("token is longer than 16 KiB")
	}
	if strings.Count(token, ".") != 2 {
		return nil, nil, errors.New("not a compact JWS")
	}
	parts := strings.Split(token, ".")
	var decoded [3][]byte
	for i, part := range parts {
		if decoded[i], err = DecodeBase64(part); err != nil {
			return nil, nil, err
		}
	}
	if len(decoded[0]) > MaxHeaderSize {
		return nil, nil, errors.New("header is longer than 4 KiB")
	}
	if err := CheckObject(decoded[0]); err != nil {
		return nil, nil, err
	}
	h, err := readHeader(decoded[0])
	if err != nil {
		return nil, nil, errors.New("header is not a JOSE header")
	}
	switch {
	case h.Crit != nil || h.B64 != nil:
		err = errors.New("critical header extensions are not supported") // RFC 7515 §4.1.11, RFC 7797 §6
	case h.Zip != nil || h.Enc != nil:
		err = errors.New("encrypted tokens are not supported")
	case h.Alg == "" || strings.EqualFold(h.Alg, "none"):
		err = errors.New("alg is missing or none")
	case len(h.Kid) > MaxKid:
		err = errors.New("kid is longer than 256 bytes")
	}
	return h, decoded[1], err
}

// DecodeBase64 rejects padding, white space, and unused bits that are set: a
// signature must not have two spellings.
func DecodeBase64(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 || base64.RawURLEncoding.EncodedLen(len(b)) != len(s) {
		return nil, errors.New("not canonical base64url")
	}
	return b, nil
}

// CheckObject checks that text is one JSON object in valid UTF-8, without
// duplicate member names at any depth and without nesting beyond MaxDepth (RFC
// 7519 §4).
func CheckObject(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	first, err := d.Token()
	if err != nil || first != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	if err := strictMembers(d, json.Delim('{'), 1); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the JSON object")
	}
	return nil
}

// strictMembers checks the members of an object or the elements of an array.
func strictMembers(d *json.Decoder, open json.Delim, depth int) error {
	if depth > MaxDepth {
		return errors.New("nested too deeply")
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return errors.New("malformed JSON")
			}
			if seen[name.(string)] {
				return errors.New("duplicate member")
			}
			seen[name.(string)] = true
		}
		value, err := d.Token()
		if err != nil {
			return errors.New("malformed JSON")
		}
		if inner, ok := value.(json.Delim); ok {
			if err := strictMembers(d, inner, depth+1); err != nil {
				return err
			}
		}
	}
	if _, err := d.Token(); err != nil {
		return errors.New("malformed JSON")
	}
	return nil
}

// EncodeJSON encodes v without escaping <, > and &: tokens are not HTML, and
// escapes would make them longer.
func EncodeJSON(v any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}
