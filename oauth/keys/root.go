// Package keys holds the root secrets and the signing keys. It derives keys from
// root secrets, makes and recognizes the tokens that refer to sessions, digests and
// seals secrets, and signs and verifies tokens with the keys of a tenant. No other
// package derives a key.
package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/models"
)

// MinRootSecret is the minimum length of a root secret, in bytes.
const MinRootSecret = 32

// NewRootSecret returns a root secret of 256 random bits, in characters that no
// shell or file format changes.
func NewRootSecret() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// root holds the keys that are derived from one root secret by HKDF (RFC 5869).
// Each purpose has its own key.
type root struct {
	version uint32 // fingerprint of the secret, not its position in a list

	chain         []byte // derives the successor of a handle
	tag           []byte // recognizes handles that this server issued
	digestRefresh []byte
	digestSession []byte
	digestClient  []byte
	digestAdmin   []byte
	digestFile    []byte
	digestConsole []byte
	seal          cipher.AEAD
}

// Roots holds the root secrets of a deployment. The first one issues; all of
// them are accepted. Roots is safe for concurrent use.
type Roots struct {
	issuing *root
	all     map[uint32]*root
}

// NewRoots derives the keys of each secret.
func NewRoots(secrets []string) (*Roots, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no root secret")
	}
	k := &Roots{all: map[uint32]*root{}}
	for _, secret := range secrets {
		if len(secret) < MinRootSecret {
			return nil, fmt.Errorf("a root secret has %d bytes; it must have at least %d", len(secret), MinRootSecret)
		}
		r, err := deriveRoot(secret)
		if err != nil {
			return nil, err
		}
		if k.all[r.version] != nil {
			return nil, errors.New("two root secrets are the same")
		}
		k.all[r.version] = r
		if k.issuing == nil {
			k.issuing = r
		}
	}
	return k, nil
}

// Issuing returns the version of the root secret that issues: a fingerprint of
// it.
func (k *Roots) Issuing() uint32 { return k.issuing.version }

// Accepts reports whether the root secret with the version is configured.
func (k *Roots) Accepts(version int64) bool { return k.all[uint32(version)] != nil }

// Versions returns the versions of all configured root secrets, in no order.
func (k *Roots) Versions() []uint32 { return slices.Collect(maps.Keys(k.all)) }

// Fingerprints lists the fingerprints of the configured root secrets.
func (k *Roots) Fingerprints() string {
	var list []string
	for version := range k.all {
		list = append(list, fmt.Sprintf("%08x", version))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// deriveRoot derives the keys of one secret.
func deriveRoot(secret string) (*root, error) {
	prk, err := hkdf.Extract(sha256.New, []byte(secret), []byte("latchkey"))
	if err != nil {
		return nil, err
	}
	derive := func(label string) []byte {
		key, e := hkdf.Expand(sha256.New, prk, "latchkey/1/"+label, sha256.Size)
		err = errors.Join(err, e)
		return key
	}
	r := &root{
		chain: derive("chain"), tag: derive("tag"),
		digestRefresh: derive("digest-refresh"), digestSession: derive("digest-session"), digestClient: derive("digest-client"),
		digestAdmin: derive("digest-admin"),
		digestFile:  derive("digest-file"), digestConsole: derive("digest-console"),
	}
	version, seal := derive("version"), derive("seal")
	if err != nil {
		return nil, err
	}
	r.version = binary.BigEndian.Uint32(version)
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, err
	}
	r.seal, err = cipher.NewGCM(block)
	return r, err
}

// mac returns the HMAC-SHA-256 of parts that the caller has made fixed in
// width.
func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// fixedWidth returns a digest of s, so that parts of any length become fixed in
// width.
func fixedWidth(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// DigestClientSecret implements models.Secrets. The secret has 256 random bits,
// or an operator has chosen a long one, so that a keyed digest, which takes a
// microsecond, is enough.
func (k *Roots) DigestClientSecret(tenant, client, secret string) models.Digest {
	return k.issuing.clientDigest(tenant, client, secret)
}

// clientDigest returns the digest of a client secret under the root secret.
func (r *root) clientDigest(tenant, client, secret string) models.Digest {
	return models.Digest{
		Digest:      mac(r.digestClient, fixedWidth(tenant), fixedWidth(client), fixedWidth(secret)),
		RootVersion: int64(r.version),
	}
}

// MatchClientSecret implements models.Secrets, in constant time. A digest under
// a root secret that is no longer configured matches no secret.
func (k *Roots) MatchClientSecret(tenant, client, secret string, stored models.Digest) bool {
	r := k.all[uint32(stored.RootVersion)]
	return r != nil && hmac.Equal(r.clientDigest(tenant, client, secret).Digest, stored.Digest)
}

// DigestFile digests a configuration file, which contains secrets, under the
// issuing root secret and under every accepted one.
func (k *Roots) DigestFile(content []byte) (digest string, known []string) {
	of := func(r *root) string { return hex.EncodeToString(mac(r.digestFile, content)) }
	for _, r := range k.all {
		known = append(known, of(r))
	}
	return of(k.issuing), known
}

// SealIssuerSecret implements models.Secrets.
func (k *Roots) SealIssuerSecret(tenant, issuer, secret string) (sealed []byte, version int64) {
	return k.seal("shared-secret", tenant, issuer, "HS256", []byte(secret))
}

// MatchIssuerSecret implements models.Secrets.
func (k *Roots) MatchIssuerSecret(tenant, issuer, secret string, sealed []byte, version int64) bool {
	opened, err := k.OpenIssuerSecret(tenant, issuer, sealed, version)
	return err == nil && hmac.Equal(opened, []byte(secret))
}

// SealDestinationSecret implements models.Secrets.
func (k *Roots) SealDestinationSecret(tenant, destination, secret string) (sealed []byte, version int64) {
	return k.seal("event-destination", tenant, destination, "", []byte(secret))
}

// OpenDestinationSecret implements models.Secrets.
func (k *Roots) OpenDestinationSecret(tenant, destination string, sealed []byte, version int64) (secret string, err error) {
	plain, err := k.open("event-destination", tenant, destination, "", sealed, version)
	return string(plain), err
}

// SealSuspensionKey implements models.SuspensionSecrets.
func (k *Roots) SealSuspensionKey(key []byte) (sealed []byte, version int64) {
	return k.seal("suspension-key", "", "", "HS256", key)
}

// OpenSuspensionKey implements models.SuspensionSecrets.
func (k *Roots) OpenSuspensionKey(sealed []byte, version int64) (key []byte, err error) {
	return k.open("suspension-key", "", "", "HS256", sealed, version)
}

// OpenIssuerSecret decrypts the result of SealIssuerSecret.
func (k *Roots) OpenIssuerSecret(tenant, issuer string, sealed []byte, version int64) (secret []byte, err error) {
	return k.open("shared-secret", tenant, issuer, "HS256", sealed, version)
}

// ResealIssuerSecret seals a shared secret with the issuing root secret. It
// returns nil if the secret cannot be decrypted.
func (k *Roots) ResealIssuerSecret(tenant, issuer string, sealed []byte, version int64) []byte {
	return k.reseal("shared-secret", tenant, issuer, "HS256", sealed, version)
}

// seal encrypts with AES-256-GCM and a random nonce. It authenticates what the
// value belongs to, so that a row that is copied to another tenant cannot be
// decrypted.
func (k *Roots) seal(purpose, tenant, name, algorithm string, plain []byte) (sealed []byte, version int64) {
	nonce := make([]byte, k.issuing.seal.NonceSize())
	rand.Read(nonce)
	sealed = k.issuing.seal.Seal(nonce, nonce, plain, sealContext(purpose, tenant, name, algorithm))
	return sealed, int64(k.issuing.version)
}

// open decrypts the result of seal with the root secret that sealed it.
func (k *Roots) open(purpose, tenant, name, algorithm string, sealed []byte, version int64) ([]byte, error) {
	r := k.all[uint32(version)]
	if r == nil {
		return nil, fmt.Errorf("%s of tenant %s: sealed with a root secret that is not configured", purpose, tenant)
	}
	if len(sealed) < r.seal.NonceSize() {
		return nil, fmt.Errorf("%s of tenant %s: the sealed value is damaged", purpose, tenant)
	}
	nonce, text := sealed[:r.seal.NonceSize()], sealed[r.seal.NonceSize():]
	plain, err := r.seal.Open(nil, nonce, text, sealContext(purpose, tenant, name, algorithm))
	if err != nil {
		return nil, fmt.Errorf("%s of tenant %s: cannot be decrypted", purpose, tenant)
	}
	return plain, nil
}

// reseal seals a value with the issuing root secret. It returns nil if the
// value cannot be decrypted.
func (k *Roots) reseal(purpose, tenant, name, algorithm string, sealed []byte, version int64) []byte {
	plain, err := k.open(purpose, tenant, name, algorithm, sealed, version)
	if err != nil {
		return nil
	}
	resealed, _ := k.seal(purpose, tenant, name, algorithm, plain)
	return resealed
}

// sealContext returns the additional data that seal authenticates.
func sealContext(parts ...string) []byte {
	var aad []byte
	for _, p := range parts {
		aad = append(aad, fixedWidth(p)...)
	}
	return aad
}
