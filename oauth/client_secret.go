package oauth

import (
	"crypto/rand"
	"encoding/base64"
)

// clientSecretPrefix is the prefix by which secret scanners recognize client secrets
// that this server made.
const clientSecretPrefix = "lk_cs_"

// NewClientSecret returns a client secret of 256 random bits, in characters that HTTP
// Basic need not encode.
func NewClientSecret() string {
	var b [32]byte
	rand.Read(b[:])
	return clientSecretPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}
