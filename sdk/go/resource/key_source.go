package resource

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
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
	*wire.Issuer
	set wire.Cached[wire.KeySet]
}

func newKeySource(d *wire.Issuer) *keySource {
	s := &keySource{Issuer: d}
	s.set.Now, s.set.Fetch = d.Now, s.download
	return s
}

// key is the issuer's key of that id. ErrInvalidToken: it has none;
// ErrUnavailable: that cannot be said.
func (s *keySource) key(ctx context.Context, kid string) (*wire.Key, error) {
	now := s.Now()
	h, err := s.set.Current(ctx, now)
	if err != nil {
		return nil, err
	}
	if k := h.Value[kid]; k != nil {
		return k, nil
	}
	if age := now.Sub(h.RequestedAt); age < 0 || age >= unknownKidPause {
		if h, err = s.set.Refresh(ctx, now); err != nil {
			return nil, err
		}
	}
	if k := h.Value[kid]; k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w: the issuer has no such key", latchkey.ErrInvalidToken)
}

// stillPublishes says whether the issuer still publishes a key.
func (s *keySource) stillPublishes(ctx context.Context, k *wire.Key, now time.Time) (bool, error) {
	h, err := s.set.Current(ctx, now)
	return err == nil && h.Value[k.KeyID] == k, err
}

func (s *keySource) download(ctx context.Context, before *wire.Document[wire.KeySet]) (*wire.Document[wire.KeySet], error) {
	m, err := s.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.CheckEndpoint(m.JWKSURI); err != nil {
		return nil, err
	}
	asked := s.Now()
	text, header, err := wire.Get(ctx, s.HTTPClient, m.JWKSURI, "application/jwk-set+json, application/json", maxKeySet)
	if err != nil {
		return nil, err
	}
	set, err := wire.ParseKeySet(text)
	if err != nil {
		return nil, fmt.Errorf("%w: the key set of %s: %w", latchkey.ErrUnavailable, s.URL, err)
	}
	if before != nil {
		set.ReuseFrom(before.Value)
	}
	fresh := asked.Add(keyLife(header))
	return &wire.Document[wire.KeySet]{Value: set, RequestedAt: asked, FreshUntil: fresh, UsableUntil: fresh.Add(lastGoodLife)}, nil
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
