package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

const (
	// JWKSMaxAge is how long a key set may be cached (RFC 9111 §5.2.2.1).
	JWKSMaxAge = 5 * time.Minute
	// Announcement is how long a new key is published before it signs.
	Announcement = 2 * JWKSMaxAge
)

// rsaBits is the size of new RSA keys.
const rsaBits = 2048

// State is the state of a signing key in its life cycle.
type State string

// The states, in order.
const (
	Announced  State = "announced"   // published, not yet used
	Active     State = "active"      // signs
	VerifyOnly State = "verify-only" // verifies until the last token that it signed has expired
	Retired    State = "retired"     // no longer published
)

// States returns the state of each key at now. It depends only on the times
// of the keys, which must be in the order of their activation.
func States(keys []models.SigningKey, now time.Time) []State {
	states := make([]State, len(keys))
	var replaced time.Time // when the next newer key that is in service activated
	for i := len(keys) - 1; i >= 0; i-- {
		k := keys[i]
		switch {
		case !k.RetiredAt.IsZero() && !now.Before(k.RetiredAt.Time):
			states[i] = Retired
			continue
		case now.Before(k.ActivatesAt.Time):
			states[i] = Announced
			continue
		case replaced.IsZero():
			states[i] = Active
		case now.Before(replaced.Add(session.MaxAccessTTL + session.Leeway)):
			states[i] = VerifyOnly
		default:
			states[i] = Retired
		}
		replaced = k.ActivatesAt.Time
	}
	return states
}

// NewSigningKey returns a new sealed key for a tenant. It activates at
// `activates`.
func (k *Roots) NewSigningKey(tenant, algorithm string, now, activates time.Time) (models.SigningKey, error) {
	private, kid, err := generateNamedKey(algorithm)
	if err != nil {
		return models.SigningKey{}, err
	}
	sealed, version, err := k.SealSigningKey(tenant, kid, algorithm, private)
	if err != nil {
		return models.SigningKey{}, err
	}
	return models.SigningKey{
		TenantID: tenant, Kid: kid, Algorithm: algorithm, Sealed: sealed, RootVersion: version,
		CreatedAt: models.At(now), ActivatesAt: models.At(activates),
	}, nil
}

// SealSigningKey seals the private part of a key, whose kid must be its
// thumbprint.
func (k *Roots) SealSigningKey(tenant, kid, algorithm string, private crypto.Signer) (sealed []byte, version int64, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, 0, err
	}
	sealed, version = k.seal("signing-key", tenant, kid, algorithm, der)
	return sealed, version, nil
}

// ResealSigningKey seals a key with the issuing root secret. It returns nil if
// the key cannot be decrypted.
func (k *Roots) ResealSigningKey(row models.SigningKey) []byte {
	return k.reseal("signing-key", row.TenantID, row.Kid, row.Algorithm, row.Sealed, row.RootVersion)
}

// generateNamedKey generates a key whose kid does not begin with a hyphen, so
// that no command takes it for a flag.
func generateNamedKey(algorithm string) (private crypto.Signer, kid string, err error) {
	for {
		if private, err = generateKey(algorithm); err != nil {
			return nil, "", err
		}
		if kid, err = Thumbprint(private.Public()); err != nil || kid[0] != '-' {
			return private, kid, err
		}
	}
}

// generateKey generates a key for an algorithm.
func generateKey(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "RS256":
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "Ed25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	default:
		return nil, fmt.Errorf("unknown signing algorithm %q", algorithm)
	}
}

// Thumbprint returns the key's RFC 7638 SHA-256 thumbprint.
func Thumbprint(public crypto.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// JOSEAlgorithm returns the alg of tokens. It is EdDSA for Ed25519 keys,
// because that is the name that verifiers know.
func JOSEAlgorithm(algorithm string) jose.SignatureAlgorithm {
	if algorithm == "Ed25519" {
		return jose.EdDSA
	}
	return jose.SignatureAlgorithm(algorithm)
}

// signingKey is a decrypted key.
type signingKey struct {
	kid     string
	alg     jose.SignatureAlgorithm
	public  jose.JSONWebKey
	private crypto.Signer
	signers map[string]jose.Signer // by typ
}

// unsealKey decrypts a key and checks that it is the one that its row names.
// The public key is derived from the private one, so that nobody who can only
// write to the database can add a key.
func (k *Roots) unsealKey(row models.SigningKey) (*signingKey, error) {
	der, err := k.open("signing-key", row.TenantID, row.Kid, row.Algorithm, row.Sealed, row.RootVersion)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("sealed key cannot be parsed")
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("sealed key is a %T", parsed)
	}
	kid, err := Thumbprint(private.Public())
	if err != nil || kid != row.Kid {
		return nil, fmt.Errorf("sealed key does not match kid %s", row.Kid)
	}
	alg := JOSEAlgorithm(row.Algorithm)
	return &signingKey{
		kid: kid, alg: alg, private: private,
		public:  jose.JSONWebKey{Key: private.Public(), KeyID: kid, Algorithm: string(alg), Use: "sig"},
		signers: map[string]jose.Signer{},
	}, nil
}

// signer returns a signer whose header has typ, alg and kid and nothing else
// (RFC 9068 §2.1).
func (k *signingKey) signer(typ string) (jose.Signer, error) {
	opaque := jose.JSONWebKey{Key: cryptosigner.Opaque(k.private), KeyID: k.kid}
	return jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: opaque}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
}
