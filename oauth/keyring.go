package oauth

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
)

// keyRing holds the signing keys of one tenant as a node has loaded them.
type keyRing struct {
	rows  []models.SigningKey    // in the order in which they activate
	byKid map[string]*signingKey // nil: its root secret is not configured, which is a fault of this server

	published atomic.Pointer[published]
	verified  verifiedTokens
}

// newKeyRing decrypts the keys. A key that cannot be decrypted is left out and
// named in the error; the others can be used.
func newKeyRing(k *Keys, rows []models.SigningKey) (*keyRing, error) {
	ring := &keyRing{byKid: map[string]*signingKey{}}
	var faults []error
	for _, row := range rows {
		key, err := k.unsealKey(row)
		if err == nil {
			err = key.prepare(jws.TypAccessToken, jws.TypJWT, typIntrospection, typStatusList, typClientToken, typSecurityEvent)
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

// active returns the key that signs at now.
func (r *keyRing) active(now time.Time) (*signingKey, error) {
	states := KeyStates(r.rows, now)
	for i, row := range r.rows {
		if key := r.byKid[row.Kid]; key != nil && states[i] == KeyActive {
			return key, nil
		}
	}
	return nil, errNoSigningKey
}

var errNoSigningKey = errors.New("no active signing key")

// verifier returns the key with the given kid if tokens that it signed are
// still accepted, and nil otherwise.
func (r *keyRing) verifier(kid string, now time.Time) *signingKey {
	states := KeyStates(r.rows, now)
	for i, row := range r.rows {
		if row.Kid == kid && states[i] != KeyRetired {
			return r.byKid[kid]
		}
	}
	return nil
}

// jwks returns the published key set: announced, active and verify-only keys,
// newest first (RFC 7517 §5).
func (r *keyRing) jwks(now time.Time) jose.JSONWebKeySet {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	states := KeyStates(r.rows, now)
	for i := len(r.rows) - 1; i >= 0; i-- {
		if key := r.byKid[r.rows[i].Kid]; key != nil && states[i] != KeyRetired {
			set.Keys = append(set.Keys, key.public)
		}
	}
	return set
}

// sign returns a compact JWS of the claims, signed with the active key. The
// caller holds a signing slot.
func (r *keyRing) sign(now time.Time, typ string, claims any) (string, error) {
	key, err := r.active(now)
	if err != nil {
		return "", err
	}
	payload, err := encodeJSON(claims)
	if err != nil {
		return "", err
	}
	signed, err := key.signers[typ].Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return signed.CompactSerialize()
}

// verify checks the signature of a token with the key that its kid names, which
// may be any key of the ring, and returns the token's typ and payload.
func (r *keyRing) verify(now time.Time, token string) (typ string, payload []byte, err error) {
	if good, is := r.verified.find(token); is && r.verifier(good.kid, now) != nil {
		return good.typ, good.payload, nil
	}
	header, _, err := jws.Read(token)
	if err != nil {
		return "", nil, err
	}
	if key, known := r.byKid[header.Kid]; known && key == nil {
		return "", nil, errUnopenedKey
	}
	key := r.verifier(header.Kid, now)
	if key == nil {
		return "", nil, errUnknownKid
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
	errUnknownKid  = errors.New("unknown kid")
	errUnopenedKey = errors.New("this node cannot decrypt the token's signing key")
)
