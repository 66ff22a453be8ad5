package latchkey

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
	// minKeyLife and maxKeyLife bound what Cache-Control may say.
	minKeyLife, maxKeyLife = 30 * time.Second, time.Hour
	// lastGoodLife is for how long keys serve beyond their life while the issuer
	// does not answer.
	lastGoodLife = time.Hour
	// unknownKidPause is the least age of a key set that an unknown kid makes us
	// fetch anew: a stranger can invent as many as they like.
	unknownKidPause = 30 * time.Second
)

// keySource has the issuer's key set.
type keySource struct {
	*discovery
	set cached[keySet]
}

func newKeySource(d *discovery) *keySource {
	s := &keySource{discovery: d}
	s.set.now, s.set.fetch = d.now, s.download
	return s
}

// key is the issuer's key of that id. ErrInvalidToken: it has none;
// ErrUnavailable: that cannot be said.
func (s *keySource) key(ctx context.Context, kid string) (*verificationKey, error) {
	now := s.now()
	h, err := s.set.current(ctx, now)
	if err != nil {
		return nil, err
	}
	if k := h.value[kid]; k != nil {
		return k, nil
	}
	if age := now.Sub(h.asked); age < 0 || age >= unknownKidPause {
		if h, err = s.set.renewed(ctx, now); err != nil {
			return nil, err
		}
	}
	if k := h.value[kid]; k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w: the issuer has no such key", ErrInvalidToken)
}

// holds says whether the issuer still publishes a key.
func (s *keySource) holds(ctx context.Context, k *verificationKey, now time.Time) (bool, error) {
	h, err := s.set.current(ctx, now)
	return err == nil && h.value[k.kid] == k, err
}

func (s *keySource) download(ctx context.Context, before *held[keySet]) (*held[keySet], error) {
	m, err := s.metadata(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.endpoint(m.JWKSURI); err != nil {
		return nil, err
	}
	asked := s.now()
	text, header, err := s.read(ctx, m.JWKSURI, "application/jwk-set+json, application/json", maxKeySet)
	if err != nil {
		return nil, err
	}
	set, err := parseKeySet(text)
	if err != nil {
		return nil, fmt.Errorf("%w: the key set of %s: %w", ErrUnavailable, s.issuer, err)
	}
	if before != nil {
		set.keep(before.value)
	}
	fresh := asked.Add(keyLife(header))
	return &held[keySet]{set, asked, fresh, fresh.Add(lastGoodLife)}, nil
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
