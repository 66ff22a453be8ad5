package resource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// statusLists keeps the status lists that tokens refer to, by URL.
type statusLists struct {
	keys      *wire.KeySource
	tolerance time.Duration

	mu    sync.Mutex
	lists map[string]*wire.Cached[*statusList]
}

func newStatusLists(keys *wire.KeySource, tolerance time.Duration) *statusLists {
	return &statusLists{keys: keys, tolerance: tolerance, lists: map[string]*wire.Cached[*statusList]{}}
}

// check implements revocationCheck. A faulty list does not condemn the token:
// the error is ErrUnavailable.
func (s *statusLists) check(ctx context.Context, t *Token, _ string, now time.Time) error {
	switch {
	case t.status == nil:
		return fmt.Errorf("%w: status is missing: set status_list for the client", latchkey.ErrInvalidToken)
	case !s.isUnderIssuer(t.status.URI):
		return fmt.Errorf("%w: status.uri is not below the issuer", latchkey.ErrInvalidToken)
	}
	list, err := s.list(t.status.URI).Current(ctx, now)
	if err != nil {
		return err
	}
	switch status, known := list.Value.at(t.status.Index); {
	case !known:
		return fmt.Errorf("%w: status.idx is not in the list", latchkey.ErrInvalidToken)
	case status != 0: // revoked, suspended, or with a meaning that only the issuer knows
		return fmt.Errorf("%w: revoked", latchkey.ErrInvalidToken)
	}
	return nil
}

// isUnderIssuer reports whether a URL is below the issuer's: a token must not
// cause requests to another host.
func (s *statusLists) isUnderIssuer(uri string) bool {
	rest, under := strings.CutPrefix(uri, s.keys.URL+"/")
	u, err := url.Parse(uri)
	return under && rest != "" && err == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && u.RawPath == "" && path.Clean(u.Path) == u.Path
}

func (s *statusLists) list(uri string) *wire.Cached[*statusList] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lists[uri]; l != nil {
		return l
	}
	now := s.keys.Now()
	maps.DeleteFunc(s.lists, func(_ string, l *wire.Cached[*statusList]) bool {
		h, _ := l.Peek()
		return h != nil && !now.Before(h.UsableUntil)
	})
	l := &wire.Cached[*statusList]{Now: s.keys.Now, Fetch: func(ctx context.Context, _ *wire.Document[*statusList]) (*wire.Document[*statusList], error) {
		h, err := s.download(ctx, uri)
		if err != nil && !errors.Is(err, latchkey.ErrUnavailable) {
			err = fmt.Errorf("%w: status list %s: %w", latchkey.ErrUnavailable, uri, err)
		}
		return h, err
	}}
	s.lists[uri] = l
	return l
}

// download fetches a list and validates it (§8.3).
func (s *statusLists) download(ctx context.Context, uri string) (*wire.Document[*statusList], error) {
	asked := s.keys.Now()
	text, _, err := wire.Get(ctx, s.keys.HTTPClient, uri, "application/"+typStatusList, maxStatusList)
	if err != nil {
		return nil, err
	}
	c, err := wire.ParseCompact(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, err
	}
	if !c.Header.IsType(typStatusList) {
		return nil, errors.New("typ does not match: expected statuslist+jwt")
	}
	key, err := s.keys.Key(ctx, c.Header.KeyID)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", asUnavailable(err))
	}
	if err := c.Verify(key); err != nil {
		return nil, err
	}
	claims, err := parseStatusClaims(c.Payload)
	switch {
	case err != nil:
		return nil, err
	case claims.uri != uri:
		return nil, errors.New("sub does not match: expected the URL of the list")
	case claims.issuer != "" && claims.issuer != s.keys.URL:
		return nil, fmt.Errorf("iss does not match: expected %q", s.keys.URL)
	case asked.Before(claims.issuedAt.Add(-s.tolerance)):
		return nil, errors.New("iat is in the future")
	case !claims.expiry.IsZero() && !asked.Before(claims.expiry):
		return nil, errors.New("exp is in the past")
	}
	h := &wire.Document[*statusList]{Value: claims.list, RequestedAt: asked, FreshUntil: asked.Add(claims.life), UsableUntil: asked.Add(claims.life)}
	if !claims.expiry.IsZero() {
		h.UsableUntil = claims.expiry
	}
	if h.FreshUntil.After(h.UsableUntil) {
		h.FreshUntil = h.UsableUntil
	}
	return h, nil
}

// asUnavailable hides that an error wraps ErrInvalidToken: it concerns the
// list's signature and not the token's.
func asUnavailable(err error) error {
	return fmt.Errorf("%w: %s", latchkey.ErrUnavailable, err.Error())
}
