package latchkey

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeys        = 100
	maxKeySet      = 512 << 10
	defaultKeyLife = 5 * time.Minute
	// minKeyLife and maxKeyLife bound what Cache-Control may say.
	minKeyLife, maxKeyLife = 30 * time.Second, time.Hour
	// lastGoodLife is for how long keys serve beyond their life while the issuer
	// does not answer.
	lastGoodLife = time.Hour
	// unknownKidPause is the least age of a key set that an unknown kid makes us
	// fetch anew: a stranger can invent as many as they like.
	unknownKidPause = 30 * time.Second
	// fetchPause is how long a fetch that failed is not tried again.
	fetchPause = 2 * time.Second
)

// verificationKey is a public key of the issuer. Two of the same address are
// the same key, over as many fetches as the issuer publishes it.
type verificationKey struct {
	kid, algorithm string
	public         any
	text           string // as JSON, to recognize it
}

// keySet is what the issuer published at a moment.
type keySet struct {
	keys    map[string]*verificationKey // by kid
	fetched time.Time
	life    time.Duration // as the issuer said
}

// keySource has the issuer's key set. It is safe for concurrent use; callers who
// need another one at the same moment share a fetch.
type keySource struct {
	*discovery

	keysMu   sync.RWMutex
	set      *keySet // nil: there was none yet
	failed   time.Time
	failure  error         // of the last fetch; nil: it went well
	inflight chan struct{} // closed when the fetch under way ends; nil: there is none
}

// key is the issuer's key of that id. ErrInvalidToken: it has none;
// ErrUnavailable: that cannot be said.
func (s *keySource) key(ctx context.Context, kid string) (*verificationKey, error) {
	now := s.now()
	set, err := s.current(ctx, now)
	if err != nil {
		return nil, err
	}
	if k := set.keys[kid]; k != nil {
		return k, nil
	}
	if age := now.Sub(set.fetched); age < 0 || age >= unknownKidPause {
		if set, err = s.renewed(ctx, now); err != nil {
			return nil, err
		}
	}
	if k := set.keys[kid]; k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w: the issuer has no such key", ErrInvalidToken)
}

// holds says whether the issuer still publishes a key.
func (s *keySource) holds(ctx context.Context, k *verificationKey, now time.Time) (bool, error) {
	set, err := s.current(ctx, now)
	return err == nil && set.keys[k.kid] == k, err
}

// current is a key set that may be used. One that is about to grow old is
// fetched anew in the background, so that only an idle verifier ever waits.
func (s *keySource) current(ctx context.Context, now time.Time) (*keySet, error) {
	s.keysMu.RLock()
	set, failing := s.set, s.failure != nil && now.Sub(s.failed) < lastGoodLife
	s.keysMu.RUnlock()
	if set == nil {
		return s.renewed(ctx, now)
	}
	switch age := now.Sub(set.fetched); {
	case age < set.life*3/4 && age >= 0:
		return set, nil
	case age < set.life || failing && age < set.life+lastGoodLife:
		s.renew(ctx, now)
		return set, nil
	}
	fresh, err := s.renewed(ctx, now)
	if err != nil && now.Sub(set.fetched) < set.life+lastGoodLife {
		return set, nil
	}
	return fresh, err
}

// renewed waits for a fetch.
func (s *keySource) renewed(ctx context.Context, now time.Time) (*keySet, error) {
	if done := s.renew(ctx, now); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
	s.keysMu.RLock()
	defer s.keysMu.RUnlock()
	if s.failure != nil {
		return nil, s.failure
	}
	return s.set, nil
}

// renew begins a fetch, or joins the one under way. nil: the last one has just
// failed.
func (s *keySource) renew(ctx context.Context, now time.Time) <-chan struct{} {
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	if since := now.Sub(s.failed); s.inflight == nil && s.failure != nil && since >= 0 && since < fetchPause {
		return nil
	}
	if s.inflight == nil {
		s.inflight = make(chan struct{})
		go s.fetchKeys(context.WithoutCancel(ctx), s.inflight)
	}
	return s.inflight
}

func (s *keySource) fetchKeys(ctx context.Context, done chan struct{}) {
	set, err := s.download(ctx)
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	if s.failure = err; err != nil {
		s.failed = s.now()
	} else {
		set.keep(s.set)
		s.set = set
	}
	s.inflight = nil
	close(done)
}

func (s *keySource) download(ctx context.Context) (*keySet, error) {
	m, err := s.metadata(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.endpoint(m.JWKSURI); err != nil {
		return nil, err
	}
	asked := s.now() // not when the answer came: it may be as old as this
	text, header, err := s.read(ctx, m.JWKSURI, "application/jwk-set+json, application/json", maxKeySet)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeySet(text)
	if err != nil {
		return nil, fmt.Errorf("%w: the key set of %s: %w", ErrUnavailable, s.issuer, err)
	}
	return &keySet{keys, asked, keyLife(header)}, nil
}

// keep lets keys that were known before stay what they are.
func (s *keySet) keep(before *keySet) {
	if before == nil {
		return
	}
	for kid, k := range s.keys {
		if known := before.keys[kid]; known != nil && known.text == k.text {
			s.keys[kid] = known
		}
	}
}

// keyLife is what Cache-Control says (RFC 9111 §5.2.2.1), within bounds.
func keyLife(h http.Header) time.Duration {
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
		if err == nil && strings.EqualFold(name, "max-age") {
			return min(max(time.Duration(seconds)*time.Second, minKeyLife), maxKeyLife)
		}
	}
	return defaultKeyLife
}

// parseKeySet keeps the public signature keys that tokens can be verified with;
// others may stand beside them (RFC 7517 §5).
func parseKeySet(text []byte) (map[string]*verificationKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is no JSON Web Key Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	keys := map[string]*verificationKey{}
	for _, text := range set.Keys {
		k := parseKey(text)
		if k == nil {
			continue
		}
		if keys[k.kid] != nil {
			return nil, errors.New("two keys have the same kid")
		}
		keys[k.kid] = k
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no usable key")
	}
	return keys, nil
}

// parseKey reads a key that one algorithm can be verified with; nil: it is none.
func parseKey(text []byte) *verificationKey {
	var k jose.JSONWebKey
	if json.Unmarshal(text, &k) != nil || k.KeyID == "" || len(k.KeyID) > maxKid || k.Use != "" && k.Use != "sig" {
		return nil
	}
	algorithm := ""
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits >= 2048 && bits <= 8192 { // a huge one makes each verification a long one
			algorithm = "RS256"
		}
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			algorithm = "ES256"
		}
	case ed25519.PublicKey:
		algorithm = "EdDSA"
	}
	named := k.Algorithm
	if named == "Ed25519" { // RFC 9864
		named = "EdDSA"
	}
	if algorithm == "" || named != "" && named != algorithm {
		return nil
	}
	canonical, err := k.MarshalJSON()
	if err != nil {
		return nil
	}
	return &verificationKey{k.KeyID, algorithm, k.Key, string(canonical)}
}
