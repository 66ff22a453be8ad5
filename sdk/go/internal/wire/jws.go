package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Limits for input that is parsed before its signature is verified.
const (
	MaxToken  = 16 << 10 // of a token; a status list has its own limit
	maxHeader = 4 << 10
	maxKid    = 256
)

// algorithms are the algorithms that a Latchkey server signs with.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}

// Header holds the members of a JWS header that are read. Members that could
// select a key (jku, jwk, x5u, x5c) are ignored.
type Header struct{ Algorithm, KeyID, Type string }

// Compact is a parsed compact JWS whose signature has not been verified.
type Compact struct {
	Header  Header
	Payload []byte // one strict JSON object
	text    string
}

// ParseCompact parses a compact JWS strictly, before any library does: three
// parts of canonical base64url, JSON without duplicate members, no critical
// extensions (RFC 7515 §4, RFC 8725 §3).
func ParseCompact(text string) (*Compact, error) {
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 3 {
		return nil, errors.New("not a compact JWS")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = canonicalBase64(part); err != nil {
			return nil, fmt.Errorf("JWS part %d: %w", i+1, err)
		}
	}
	header, err := parseHeader(decoded[0])
	if err != nil {
		return nil, err
	}
	return &Compact{header, decoded[1], text}, StrictObject(decoded[1])
}

// parseHeader reads members by their exact names: decoding into a struct would
// accept "ALG" for "alg", and the header that is checked would differ from the
// one that the signature is verified with.
func parseHeader(text []byte) (h Header, err error) {
	if len(text) > maxHeader {
		return h, fmt.Errorf("the JWS header is longer than %d bytes", maxHeader)
	}
	if err := StrictObject(text); err != nil {
		return h, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return h, errors.New("the header is malformed")
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if members[name] != nil {
			return h, fmt.Errorf("the JWS header has %s, which is not supported", name) // RFC 7515 §4.1.11, RFC 7797 §6
		}
	}
	for name, field := range map[string]*string{"alg": &h.Algorithm, "kid": &h.KeyID, "typ": &h.Type} {
		if value := members[name]; value != nil && json.Unmarshal(value, field) != nil {
			return h, errors.New("the header is malformed")
		}
	}
	switch {
	case h.KeyID == "" || len(h.KeyID) > maxKid:
		return h, fmt.Errorf("the JWS header has no kid of 1 to %d bytes", maxKid)
	case !allowed(h.Algorithm):
		return h, errors.New("the JWS header has an unsupported alg: expected RS256, ES256 or EdDSA")
	}
	return h, nil
}

func allowed(alg string) bool {
	for _, a := range algorithms {
		if string(a) == alg { // compared exactly: "nOnE" is not allowed either
			return true
		}
	}
	return false
}

// IsType reports whether the header's typ is the media type application/{typ}.
// Media types compare without case, and the prefix may be left out (RFC 7515
// §4.1.9).
func (h Header) IsType(typ string) bool {
	short := h.Type
	if prefix := "application/"; len(short) > len(prefix) && strings.EqualFold(short[:len(prefix)], prefix) {
		short = short[len(prefix):]
	}
	return strings.EqualFold(short, typ)
}

// Verify checks the signature with a key.
func (c *Compact) Verify(k *Key) error {
	if k.algorithm != c.Header.Algorithm {
		return fmt.Errorf("alg %s does not match the key, which is for %s", c.Header.Algorithm, k.algorithm)
	}
	parsed, err := jose.ParseSignedCompact(c.text, algorithms)
	if err != nil {
		return errors.New("not a compact JWS")
	}
	payload, err := parsed.Verify(k.public)
	if err != nil || !bytes.Equal(payload, c.Payload) {
		return errors.New("invalid signature")
	}
	return nil
}

// canonicalBase64 decodes base64url and rejects padding, white space and unused
// bits that are set: one signature must not have two encodings.
func canonicalBase64(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 || base64.RawURLEncoding.EncodedLen(len(b)) != len(s) {
		return nil, errors.New("not canonical base64url")
	}
	return b, nil
}
