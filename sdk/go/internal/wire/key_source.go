package wire

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxKeySet      = 512 << 10
	defaultKeyLife = 5 * time.Minute
	// minKeyLife and maxKeyLife bound the max-age of Cache-Control.
	minKeyLife, maxKeyLife = 30 * time.Second, time.Hour
	// lastGoodLife is how much longer keys are used while the issuer is
	// unreachable.
	lastGoodLife = time.Hour
	// unknownKidPause is the least age of a key set at which an unknown kid
	// causes a fetch. Anyone can invent unknown kids.
	unknownKidPause = 30 * time.Second
)

// KeySource provides the issuer's keys.
type KeySource struct {
	*Issuer
	Set Cached[KeySet] // the key set; it may be refreshed early
}

// NewKeySource returns the source of the keys of an issuer.
func NewKeySource(d *Issuer) *KeySource {
	s := &KeySource{Issuer: d}
	s.Set.Now, s.Set.Fetch = d.Now, s.download
	return s
}

// Key returns the issuer's key with an id. The error wraps ErrInvalidToken if
// the issuer has no such key, and ErrUnavailable if that could not be checked.
func (s *KeySource) Key(ctx context.Context, kid string) (*Key, error) {
	now := s.Now()
	h, err := s.Set.Current(ctx, now)
	if err != nil {
		return nil, err
	}
	if k := h.Value[kid]; k != nil {
		return k, nil
	}
	if age := now.Sub(h.RequestedAt); age < 0 || age >= unknownKidPause {
		if h, err = s.Set.Refresh(ctx, now); err != nil {
			return nil, err
		}
	}
	if k := h.Value[kid]; k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w: kid names no key of the issuer", ErrInvalidToken)
}

// StillPublishes reports whether the issuer still publishes a key.
func (s *KeySource) StillPublishes(ctx context.Context, k *Key, now time.Time) (bool, error) {
	h, err := s.Set.Current(ctx, now)
	return err == nil && h.Value[k.KeyID] == k, err
}

func (s *KeySource) download(ctx context.Context, before *Document[KeySet]) (*Document[KeySet], error) {
	m, err := s.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.CheckEndpoint("jwks_uri", m.JWKSURI); err != nil {
		return nil, err
	}
	asked := s.Now()
	text, header, err := Get(ctx, s.HTTPClient, m.JWKSURI, "application/jwk-set+json, application/json", maxKeySet)
	if err != nil {
		return nil, err
	}
	set, err := ParseKeySet(text)
	if err != nil {
		return nil, fmt.Errorf("%w: invalid key set at %s: %w", ErrUnavailable, m.JWKSURI, err)
	}
	if before != nil {
		set.ReuseFrom(before.Value)
	}
	fresh := asked.Add(keyLife(header))
	return &Document[KeySet]{Value: set, RequestedAt: asked, FreshUntil: fresh, UsableUntil: fresh.Add(lastGoodLife)}, nil
}

// keyLife returns the max-age of Cache-Control (RFC 9111 §5.2.2.1), within
// bounds.
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
