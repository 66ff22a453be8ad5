package keys

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/latchkey/latchkey/models"
)

// adminPrefix is the prefix by which secret scanners recognize admin keys.
const adminPrefix = "lk_ak_"

const (
	adminIDSize  = 10 // bytes
	adminKeySize = 4 + adminIDSize + 32 + tagSize
	adminKind    = Kind(3) // no handle has it, so that no tag of a handle is that of an admin key
)

// AdminKey is the content of a key of the admin API. On the wire it is a prefix and
// base64url(version ‖ id ‖ secret ‖ tag).
type AdminKey struct {
	version uint32 // fingerprint of the root secret that issued it
	id      [adminIDSize]byte
	secret  [32]byte
}

// adminIDs is the encoding of the ids of admin keys: 16 characters that a person can
// read to another.
var adminIDs = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// NewAdminKey draws a key of the admin API. It returns the key itself, which is
// stored nowhere, and its row without anything that the caller decides.
func (k *Roots) NewAdminKey() (key string, row models.AdminKey) {
	a := AdminKey{version: k.issuing.version}
	rand.Read(a.id[:])
	rand.Read(a.secret[:])
	body := binary.BigEndian.AppendUint32(nil, a.version)
	body = append(append(body, a.id[:]...), a.secret[:]...)
	key = adminPrefix + base64.RawURLEncoding.EncodeToString(append(body, k.adminTag(k.issuing, body)...))
	return key, models.AdminKey{ID: a.ID(), Digest: k.issuing.adminDigest(a), RootVersion: int64(k.issuing.version)}
}

func (k *Roots) adminTag(r *root, body []byte) []byte {
	return mac(r.tag, []byte{byte(adminKind)}, body)[:tagSize]
}

// ID returns the id of the key, which may be logged.
func (a AdminKey) ID() string { return adminIDs.EncodeToString(a.id[:]) }

// DigestAdminKey returns the digest of an admin key under the issuing root secret.
func (k *Roots) DigestAdminKey(a AdminKey) models.Digest {
	return models.Digest{Digest: k.issuing.adminDigest(a), RootVersion: int64(k.issuing.version)}
}

// MatchAdminKey reports whether the stored digest is that of the admin key, in
// constant time. A digest under a root secret that is no longer configured matches
// no key.
func (k *Roots) MatchAdminKey(a AdminKey, stored models.Digest) bool {
	r := k.all[uint32(stored.RootVersion)]
	return r != nil && hmac.Equal(r.adminDigest(a), stored.Digest)
}

// adminDigest returns the digest of an admin key under the root secret.
func (r *root) adminDigest(a AdminKey) []byte { return mac(r.digestAdmin, a.id[:], a.secret[:]) }

// ParseAdminKey parses a key and checks its tag. The tag of a key whose root secret
// is no longer configured cannot be checked; its digest is the only check then.
func (k *Roots) ParseAdminKey(text string) (AdminKey, error) {
	encoded, ok := strings.CutPrefix(text, adminPrefix)
	if !ok || len(encoded) != base64.RawURLEncoding.EncodedLen(adminKeySize) {
		return AdminKey{}, ErrUnknownToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) != adminKeySize {
		return AdminKey{}, ErrUnknownToken
	}
	body, tag := b[:adminKeySize-tagSize], b[adminKeySize-tagSize:]
	a := AdminKey{version: binary.BigEndian.Uint32(b), id: [adminIDSize]byte(b[4:]), secret: [32]byte(b[4+adminIDSize:])}
	if r := k.all[a.version]; r != nil && !hmac.Equal(k.adminTag(r, body), tag) {
		return AdminKey{}, ErrUnknownToken
	}
	return a, nil
}
