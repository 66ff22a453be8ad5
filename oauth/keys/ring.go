package keys

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
)

// Ring holds the signing keys of one tenant as a node has loaded them.
type Ring struct {
	rows  []models.SigningKey    // in the order in which they activate
	byKid map[string]*signingKey // nil: its root secret is not configured, which is a fault of this server

	verified verifiedTokens
}

// NewRing decrypts the keys and prepares them to sign tokens of the given types.
// A key that cannot be decrypted is left out and named in the error; the others
// can be used.
func NewRing(k *Roots, rows []models.SigningKey, types ...string) (*Ring, error) {
	ring := &Ring{byKid: map[string]*signingKey{}}
	var faults []error
	for _, row := range rows {
		key, err := k.unsealKey(row)
		if err == nil {
			err = key.prepare(types...)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("signing key %s: %w", row.Kid, err))
			if k.all[uint32(row.RootVersion)] == nil {
				ring.byKid[row.Kid] = nil
			}
			continue
		}
		ring.rows = append(ring.rows, row)
		ring.byKid[row.Kid] = key
	}
	return ring, errors.Join(faults...)
}

// prepare makes the signers once. They are safe for concurrent use.
func (k *signingKey) prepare(types ...string) error {
	for _, typ := range types {
		s, err := k.signer(typ)
		if err != nil {
			return err
		}
		k.signers[typ] = s
	}
	return nil
}

// Active returns the kid of the key that signs at now, or ErrNoSigningKey.
func (r *Ring) Active(now time.Time) (kid string, err error) {
	key, err := r.active(now)
	if err != nil {
		return "", err
	}
	return key.kid, nil
}

// active returns the key that signs at now.
func (r *Ring) active(now time.Time) (*signingKey, error) {
	states := States(r.rows, now)
	for i, row := range r.rows {
		if key := r.byKid[row.Kid]; key != nil && states[i] == Active {
			return key, nil
		}
	}
	return nil, ErrNoSigningKey
}

// ErrNoSigningKey means that no key signs at the time.
var ErrNoSigningKey = errors.New("no active signing key")

// verifier returns the key with the given kid if tokens that it signed are
// still accepted, and nil otherwise.
func (r *Ring) verifier(kid string, now time.Time) *signingKey {
	states := States(r.rows, now)
	for i, row := range r.rows {
		if row.Kid == kid && states[i] != Retired {
			return r.byKid[kid]
		}
	}
	return nil
}

// JWKS returns the published key set: announced, active and verify-only keys,
// newest first (RFC 7517 §5).
func (r *Ring) JWKS(now time.Time) jose.JSONWebKeySet {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	states := States(r.rows, now)
	for i := len(r.rows) - 1; i >= 0; i-- {
		if key := r.byKid[r.rows[i].Kid]; key != nil && states[i] != Retired {
			set.Keys = append(set.Keys, key.public)
		}
	}
	return set
}

// Sign returns a compact JWS of the claims, signed with the active key. The
// caller limits how many signatures are in progress.
func (r *Ring) Sign(now time.Time, typ string, claims any) (string, error) {
	key, err := r.active(now)
	if err != nil {
		return "", err
	}
	payload, err := jws.EncodeJSON(claims)
	if err != nil {
		return "", err
	}
	signed, err := key.signers[typ].Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return signed.CompactSerialize()
}

// Verify checks the signature of a token with the key that its kid names, which
// may be any key of the ring, and returns the token's typ and payload.
func (r *Ring) Verify(now time.Time, token string) (typ string, payload []byte, err error) {
	if good, is := r.verified.find(token); is && r.verifier(good.kid, now) != nil {
		return good.typ, good.payload, nil
	}
	header, _, err := jws.Read(token)
	if err != nil {
		return "", nil, err
	}
	if key, known := r.byKid[header.Kid]; known && key == nil {
		return "", nil, ErrUnopenedKey
	}
	key := r.verifier(header.Kid, now)
	if key == nil {
		return "", nil, ErrUnknownKid
	}
	if header.Alg != string(key.alg) {
		return "", nil, errors.New("alg does not match the key")
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{key.alg})
	if err != nil {
		return "", nil, err
	}
	if payload, err = signed.Verify(&key.public); err != nil {
		return "", nil, err
	}
	good := verifiedToken{kid: header.Kid, typ: strings.TrimPrefix(strings.ToLower(header.Typ), "application/"), payload: payload}
	r.verified.add(token, good)
	return good.typ, good.payload, nil
}

var (
	// ErrUnknownKid means that no key of the ring has the kid, or that the key has
	// been retired.
	ErrUnknownKid = errors.New("unknown kid")

	// ErrUnopenedKey means that the key is sealed with a root secret that is not
	// configured. It is a fault of this server, not of the token.
	ErrUnopenedKey = errors.New("this node cannot decrypt the token's signing key")
)
