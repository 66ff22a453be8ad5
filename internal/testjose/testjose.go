// Package testjose writes tokens for tests, among them malformed ones.
package testjose

import (
	"encoding/base64"
	"strings"
)

// Base64 encodes a part of a token (RFC 7515 §2).
func Base64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// Compact returns a compact JWS of the given texts. Its signature is no real one.
func Compact(header, payload string) string {
	return Base64(header) + "." + Base64(payload) + "." + Base64("sig")
}

// Nested returns JSON objects in each other, depth of them.
func Nested(depth int) string {
	return strings.Repeat(`{"a":`, depth-1) + `{}` + strings.Repeat("}", depth-1)
}
