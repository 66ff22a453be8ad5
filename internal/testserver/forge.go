package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"
)

func Base64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// Forge makes a token with exactly this header and payload, signed by sign.
func Forge(header, payload string, sign func(input string) []byte) string {
	input := Base64(header) + "." + Base64(payload)
	return input + "." + Base64(string(sign(input)))
}

// ES256 signs in the form of JWS: r and s in 32 bytes each (RFC 7518 §3.4).
func ES256(key *ecdsa.PrivateKey) func(string) []byte {
	return func(input string) []byte {
		digest := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

func HS256(secret []byte) func(string) []byte {
	return func(input string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(input))
		return h.Sum(nil)
	}
}

func NewES256Key(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Payload returns the payload of a valid token as text.
func (d *Exchanger) Payload() string {
	text, err := json.Marshal(d.Issuer.Claims(d.URL, "alice"))
	if err != nil {
		d.T.Fatal(err)
	}
	return string(text)
}
