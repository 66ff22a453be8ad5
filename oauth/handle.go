package oauth

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/latchkey/latchkey/models"
)

// handle is an opaque token that refers to a session: a refresh token or a
// session token. On the wire it is a prefix and base64url(version ‖ session id
// ‖ generation ‖ secret ‖ tag), 72 bytes, so each handle has exactly one
// spelling.
type handle struct {
	kind       handleKind
	version    uint32 // fingerprint of the root secret that issued it
	session    models.SessionID
	generation uint32 // its position in the session's chain
	secret     [32]byte
}

// handleKind is the kind of a handle.
type handleKind byte

const (
	refreshToken handleKind = 1 + iota
	sessionToken
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

// errUnknownToken means that a text is not a handle, or not one that this
// server issued.
var errUnknownToken = errors.New("not a token that this server issued")

// prefix returns the prefix of the wire form.
func (k handleKind) prefix() string {
	if k == sessionToken {
		return sessionPrefix
	}
	return refreshPrefix
}

// newHandle returns the first handle of a chain, with a random secret.
func (k *Keys) newHandle(kind handleKind, id models.SessionID) handle {
	h := handle{kind: kind, version: k.issuing.version, session: id}
	rand.Read(h.secret[:])
	return h
}

// successor derives the only handle that can follow h. The derivation needs h
// itself: it is not possible with the root secret and the database alone.
func (k *Keys) successor(tenant string, h handle) handle {
	next := handle{kind: h.kind, version: k.issuing.version, session: h.session, generation: h.generation + 1}
	r := k.all[h.version]
	copy(next.secret[:], mac(r.chain, []byte{byte(h.kind)}, fixedWidth(tenant), h.session[:], be32(next.generation), h.secret[:]))
	return next
}

// digest returns the digest of h that a row stores, under the row's root
// secret. It does not cover version and tag, so that it stays the same when the
// issuing root secret changes.
func (k *Keys) digest(h handle, version uint32) []byte {
	r := k.all[version]
	if r == nil {
		return nil
	}
	key := r.digestRefresh
	if h.kind == sessionToken {
		key = r.digestSession
	}
	return mac(key, h.session[:], be32(h.generation), h.secret[:])
}

// chain returns what a row stores of h as the current handle: its digest and
// that of its successor.
func (k *Keys) chain(tenant string, h handle) models.Chain {
	return models.Chain{
		Generation: h.generation, RootVersion: h.version,
		Digest: k.digest(h, h.version), Next: k.digest(k.successor(tenant, h), h.version),
	}
}

// encode returns the wire form of h under the root secret that h names.
func (k *Keys) encode(tenant string, h handle) string {
	body := h.body()
	return h.kind.prefix() + base64.RawURLEncoding.EncodeToString(append(body, k.tag(tenant, h, body)...))
}

// body returns everything that the tag covers, except kind and tenant.
func (h handle) body() []byte {
	b := make([]byte, 0, handleSize)
	b = binary.BigEndian.AppendUint32(b, h.version)
	b = append(b, h.session[:]...)
	b = binary.BigEndian.AppendUint32(b, h.generation)
	return append(b, h.secret[:]...)
}

// tag returns the tag of a handle, under the root secret that the handle names.
func (k *Keys) tag(tenant string, h handle, body []byte) []byte {
	return mac(k.all[h.version].tag, []byte{byte(h.kind)}, fixedWidth(tenant), body)[:tagSize]
}

// parseHandle parses a handle of either kind and checks its tag. A handle that
// was never issued to this tenant is rejected without a query of the database
// and cannot end a session. A valid tag alone authorizes nothing. The tag of a
// session token whose root secret is no longer configured cannot be checked;
// classify handles this case.
func (k *Keys) parseHandle(tenant, text string) (handle, error) {
	h := handle{kind: refreshToken}
	encoded, ok := strings.CutPrefix(text, refreshPrefix)
	if !ok {
		h.kind = sessionToken
		if encoded, ok = strings.CutPrefix(text, sessionPrefix); !ok {
			return handle{}, errUnknownToken
		}
	}
	if len(encoded) != base64.RawURLEncoding.EncodedLen(handleSize) {
		return handle{}, errUnknownToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) != handleSize {
		return handle{}, errUnknownToken
	}
	h.version = binary.BigEndian.Uint32(b)
	h.session = models.SessionID(b[4:20])
	h.generation = binary.BigEndian.Uint32(b[20:24])
	copy(h.secret[:], b[24:56])
	if k.all[h.version] == nil && h.kind == sessionToken {
		// A session token does not rotate, so it outlives its root secret. Its
		// digest, which is renewed on use, is the only check.
		return h, nil
	}
	if k.all[h.version] == nil || !hmac.Equal(k.tag(tenant, h, b[:56]), b[56:]) {
		return handle{}, errUnknownToken
	}
	return h, nil
}

// be32 encodes n as four bytes, big-endian.
func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
