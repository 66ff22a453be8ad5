package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Limits of what is parsed before its signature is known to be good.
const (
	MaxToken  = 16 << 10 // of a token; a status list has a bound of its own
	maxHeader = 4 << 10
	maxKid    = 256
)

// algorithms are those that a Latchkey server signs with.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}

// Header is what is read of a JWS header. Members that could select a key
// (jku, jwk, x5u, x5c) are not among it.
type Header struct{ Algorithm, KeyID, Type string }

// Compact is a compact JWS whose signature nobody has looked at yet.
type Compact struct {
	Header  Header
	Payload []byte // one strict JSON object
	text    string
}

// ParseCompact checks the form of a compact JWS before any library parses it:
// three parts of canonical base64url, JSON without duplicate members, no
// critical extensions (RFC 7515 §4, RFC 8725 §3).
func ParseCompact(text string) (*Compact, error) {
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 3 {
		return nil, errors.New("not a compact JWS")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = canonicalBase64(part); err != nil {
			return nil, err
		}
	}
	header, err := parseHeader(decoded[0])
	if err != nil {
		return nil, err
	}
	return &Compact{header, decoded[1], text}, StrictObject(decoded[1])
}

// parseHeader takes members by their exact names: decoded into a struct, "ALG"
// would pass for "alg", and another header would be checked than the one that
// the signature is verified with.
func parseHeader(text []byte) (h Header, err error) {
	if len(text) > maxHeader {
		return h, errors.New("the header is too long")
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
			return h, errors.New("the header asks for an extension") // RFC 7515 §4.1.11, RFC 7797 §6
		}
	}
	for name, field := range map[string]*string{"alg": &h.Algorithm, "kid": &h.KeyID, "typ": &h.Type} {
		if value := members[name]; value != nil && json.Unmarshal(value, field) != nil {
			return h, errors.New("the header is malformed")
		}
	}
	switch {
	case h.KeyID == "" || len(h.KeyID) > maxKid:
		return h, errors.New("the header names no key")
	case !allowed(h.Algorithm):
		return h, errors.New("the signature algorithm is not allowed")
	}
	return h, nil
}

func allowed(alg string) bool {
	for _, a := range algorithms {
		if string(a) == alg { // exact: nOnE is no algorithm either
			return true
		}
	}
	return false
}

// IsType says whether the header's type is the media type application/{typ}, which
// compares without case, and may be shortened (RFC 7515 §4.1.9).
func (h Header) IsType(typ string) bool {
	short := h.Type
	if prefix := "application/"; len(short) > len(prefix) && strings.EqualFold(short[:len(prefix)], prefix) {
		short = short[len(prefix):]
	}
	return strings.EqualFold(short, typ)
}

// Verify checks the signature by a key.
func (c *Compact) Verify(k *Key) error {
	if k.algorithm != c.Header.Algorithm {
		return errors.New("the key is for another algorithm")
	}
	parsed, err := jose.ParseSignedCompact(c.text, algorithms)
	if err != nil {
		return errors.New("not a compact JWS")
	}
	payload, err := parsed.Verify(k.public)
	if err != nil || !bytes.Equal(payload, c.Payload) {
		return errors.New("the signature is wrong")
	}
	return nil
}

// canonicalBase64 refuses padding, white space and unused bits that are set:
// one signature must not have two spellings.
func canonicalBase64(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 || base64.RawURLEncoding.EncodedLen(len(b)) != len(s) {
		return nil, errors.New("not canonical base64url")
	}
	return b, nil
}
