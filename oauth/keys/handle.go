package keys

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/latchkey/latchkey/models"
)

// Handle is an opaque token that refers to a session: a refresh token or a
// session token. On the wire it is a prefix and base64url(version ‖ session id
// ‖ generation ‖ secret ‖ tag), 72 bytes, so each handle has exactly one
// spelling. The zero Handle is no handle.
type Handle struct {
	Kind       Kind
	Version    uint32 // fingerprint of the root secret that issued it
	Session    models.SessionID
	Generation uint32 // its position in the session's chain
	secret     [32]byte
}

// Kind is the kind of a handle.
type Kind byte

// The kinds of handles.
const (
	RefreshToken Kind = 1 + iota
	SessionToken
)

// Prefixes by which secret scanners recognize handles.
const (
	refreshPrefix = "lk_rt_"
	sessionPrefix = "lk_st_"
)

const (
	handleSize = 4 + 16 + 4 + 32 + tagSize
	tagSize    = 16
)

// ErrUnknownToken means that a text is not a handle, or not one that this
// server issued.
var ErrUnknownToken = errors.New("not a token that this server issued")

// prefix returns the prefix of the wire form.
func (k Kind) prefix() string {
	if k == SessionToken {
		return sessionPrefix
	}
	return refreshPrefix
}

// NewHandle returns the first handle of a chain, with a random secret.
func (k *Roots) NewHandle(kind Kind, id models.SessionID) Handle {
	h := Handle{Kind: kind, Version: k.issuing.version, Session: id}
	rand.Read(h.secret[:])
	return h
}

// Successor derives the only handle that can follow h. The derivation needs h
// itself: it is not possible with the root secret and the database alone.
func (k *Roots) Successor(tenant string, h Handle) Handle {
	next := Handle{Kind: h.Kind, Version: k.issuing.version, Session: h.Session, Generation: h.Generation + 1}
	r := k.all[h.Version]
	copy(next.secret[:], mac(r.chain, []byte{byte(h.Kind)}, fixedWidth(tenant), h.Session[:], be32(next.Generation), h.secret[:]))
	return next
}

// Digest returns the digest of h that a row stores, under the row's root
// secret. It does not cover version and tag, so that it stays the same when the
// issuing root secret changes.
func (k *Roots) Digest(h Handle, version uint32) []byte {
	r := k.all[version]
	if r == nil {
		return nil
	}
	key := r.digestRefresh
	if h.Kind == SessionToken {
		key = r.digestSession
	}
	return mac(key, h.Session[:], be32(h.Generation), h.secret[:])
}

// Chain returns what a row stores of h as the current handle: its digest and
// that of its successor.
func (k *Roots) Chain(tenant string, h Handle) models.Chain {
	return models.Chain{
		Generation: h.Generation, RootVersion: h.Version,
		Digest: k.Digest(h, h.Version), Next: k.Digest(k.Successor(tenant, h), h.Version),
	}
}

// Encode returns the wire form of h under the root secret that h names.
func (k *Roots) Encode(tenant string, h Handle) string {
	body := h.body()
	return h.Kind.prefix() + base64.RawURLEncoding.EncodeToString(append(body, k.tag(tenant, h, body)...))
}

// body returns everything that the tag covers, except kind and tenant.
func (h Handle) body() []byte {
	b := make([]byte, 0, handleSize)
	b = binary.BigEndian.AppendUint32(b, h.Version)
	b = append(b, h.Session[:]...)
	b = binary.BigEndian.AppendUint32(b, h.Generation)
	return append(b, h.secret[:]...)
}

// tag returns the tag of a handle, under the root secret that the handle names.
func (k *Roots) tag(tenant string, h Handle, body []byte) []byte {
	return mac(k.all[h.Version].tag, []byte{byte(h.Kind)}, fixedWidth(tenant), body)[:tagSize]
}

// ParseHandle parses a handle of either kind and checks its tag. A handle that
// was never issued to this tenant is rejected without a query of the database
// and cannot end a session. A valid tag alone authorizes nothing. The tag of a
// session token whose root secret is no longer configured cannot be checked;
// Classify handles this case.
func (k *Roots) ParseHandle(tenant, text string) (Handle, error) {
	h := Handle{Kind: RefreshToken}
	encoded, ok := strings.CutPrefix(text, refreshPrefix)
	if !ok {
		h.Kind = SessionToken
		if encoded, ok = strings.CutPrefix(text, sessionPrefix); !ok {
			return Handle{}, ErrUnknownToken
		}
	}
	if len(encoded) != base64.RawURLEncoding.EncodedLen(handleSize) {
		return Handle{}, ErrUnknownToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) != handleSize {
		return Handle{}, ErrUnknownToken
	}
	h.Version = binary.BigEndian.Uint32(b)
	h.Session = models.SessionID(b[4:20])
	h.Generation = binary.BigEndian.Uint32(b[20:24])
	copy(h.secret[:], b[24:56])
	if k.all[h.Version] == nil && h.Kind == SessionToken {
		// A session token does not rotate, so it outlives its root secret. Its
		// digest, which is renewed on use, is the only check.
		return h, nil
	}
	if k.all[h.Version] == nil || !hmac.Equal(k.tag(tenant, h, b[:56]), b[56:]) {
		return Handle{}, ErrUnknownToken
	}
	return h, nil
}

// be32 encodes n as four bytes, big-endian.
func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
