package wire

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// UnverifiedClaims decodes the claims of a JWT into to without verifying its
// signature, and reports whether they could be decoded. Use it only where the
// caller does not rely on the claims being authentic.
func UnverifiedClaims(token string, to any) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	return err == nil && json.Unmarshal(text, to) == nil
}
