package oauth

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
	seal          cipher.AEAD
}

// Keys holds the root secrets of a deployment. The first one issues; all of
// them are accepted. Keys is safe for concurrent use.
type Keys struct {
	issuing *root
	all     map[uint32]*root
}

// NewKeys derives the keys of each secret.
func NewKeys(secrets []string) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no root secret")
	}
	k := &Keys{all: map[uint32]*root{}}
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
		digestFile:  derive("digest-file"),
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
func (k *Keys) DigestClientSecret(tenant, client, secret string) models.Digest {
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
func (k *Keys) MatchClientSecret(tenant, client, secret string, stored models.Digest) bool {
	r := k.all[uint32(stored.RootVersion)]
	return r != nil && hmac.Equal(r.clientDigest(tenant, client, secret).Digest, stored.Digest)
}

// DigestFile digests a configuration file, which contains secrets, under the
// issuing root secret and under every accepted one.
func (k *Keys) DigestFile(content []byte) (digest string, known []string) {
	of := func(r *root) string { return hex.EncodeToString(mac(r.digestFile, content)) }
	for _, r := range k.all {
		known = append(known, of(r))
	}
	return of(k.issuing), known
}

// SealIssuerSecret implements models.Secrets.
func (k *Keys) SealIssuerSecret(tenant, issuer, secret string) (sealed []byte, version int64) {
	return k.seal("shared-secret", tenant, issuer, "HS256", []byte(secret))
}

// MatchIssuerSecret implements models.Secrets.
func (k *Keys) MatchIssuerSecret(tenant, issuer, secret string, sealed []byte, version int64) bool {
	opened, err := k.open("shared-secret", tenant, issuer, "HS256", sealed, version)
	return err == nil && hmac.Equal(opened, []byte(secret))
}

// SealDestinationSecret implements models.Secrets.
func (k *Keys) SealDestinationSecret(tenant, destination, secret string) (sealed []byte, version int64) {
	return k.seal("event-destination", tenant, destination, "", []byte(secret))
}

// OpenDestinationSecret implements models.Secrets.
func (k *Keys) OpenDestinationSecret(tenant, destination string, sealed []byte, version int64) (secret string, err error) {
	plain, err := k.open("event-destination", tenant, destination, "", sealed, version)
	return string(plain), err
}

// SealSuspensionKey implements models.SuspensionSecrets.
func (k *Keys) SealSuspensionKey(key []byte) (sealed []byte, version int64) {
	return k.seal("suspension-key", "", "", "HS256", key)
}

// OpenSuspensionKey implements models.SuspensionSecrets.
func (k *Keys) OpenSuspensionKey(sealed []byte, version int64) (key []byte, err error) {
	return k.open("suspension-key", "", "", "HS256", sealed, version)
}

// seal encrypts with AES-256-GCM and a random nonce. It authenticates what the
// value belongs to, so that a row that is copied to another tenant cannot be
// decrypted.
func (k *Keys) seal(purpose, tenant, name, algorithm string, plain []byte) (sealed []byte, version int64) {
	nonce := make([]byte, k.issuing.seal.NonceSize())
	rand.Read(nonce)
	sealed = k.issuing.seal.Seal(nonce, nonce, plain, sealContext(purpose, tenant, name, algorithm))
	return sealed, int64(k.issuing.version)
}

// open decrypts the result of seal with the root secret that sealed it.
func (k *Keys) open(purpose, tenant, name, algorithm string, sealed []byte, version int64) ([]byte, error) {
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

// sealContext returns the additional data that seal authenticates.
func sealContext(parts ...string) []byte {
	var aad []byte
	for _, p := range parts {
		aad = append(aad, fixedWidth(p)...)
	}
	return aad
}
