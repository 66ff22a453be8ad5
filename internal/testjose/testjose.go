// Package testjose makes tokens for tests, including malformed ones.
package testjose

import (
	"encoding/base64"
	"strings"
)

// Base64 encodes a part of a token (RFC 7515 §2).
func Base64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// Compact returns a compact JWS of the given texts. Its signature is not a real one.
func Compact(header, payload string) string {
	return Base64(header) + "." + Base64(payload) + "." + Base64("sig")
}

// Nested returns depth nested JSON objects.
func Nested(depth int) string {
	return strings.Repeat(`{"a":`, depth-1) + `{}` + strings.Repeat("}", depth-1)
}
