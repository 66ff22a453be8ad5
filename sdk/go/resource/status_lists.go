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

// statusLists has the status lists that tokens name, by URL.
type statusLists struct {
	keys      *keySource
	tolerance time.Duration

	mu    sync.Mutex
	lists map[string]*wire.Cached[*statusList]
}

func newStatusLists(keys *keySource, tolerance time.Duration) *statusLists {
	return &statusLists{keys: keys, tolerance: tolerance, lists: map[string]*wire.Cached[*statusList]{}}
}

// check implements revocationCheck. What is wrong with a list says nothing about
// the token: latchkey.ErrUnavailable.
func (s *statusLists) check(ctx context.Context, t *Token, _ string, now time.Time) error {
	switch {
	case t.status == nil:
		return fmt.Errorf("%w: it has no status", latchkey.ErrInvalidToken)
	case !s.isUnderIssuer(t.status.URI):
		return fmt.Errorf("%w: its status is not with its issuer", latchkey.ErrInvalidToken)
	}
	list, err := s.list(t.status.URI).Current(ctx, now)
	if err != nil {
		return err
	}
	switch status, known := list.Value.at(t.status.Index); {
	case !known:
		return fmt.Errorf("%w: its status is not in the list", latchkey.ErrInvalidToken)
	case status != 0: // suspended, or of a meaning that only the issuer knows
		return fmt.Errorf("%w: revoked", latchkey.ErrInvalidToken)
	}
	return nil
}

// isUnderIssuer says whether a URL is under the issuer: a token must not make us ask
// somebody else.
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
			err = fmt.Errorf("%w: the status list %s: %w", latchkey.ErrUnavailable, uri, err)
		}
		return h, err
	}}
	s.lists[uri] = l
	return l
}

// download fetches a list and checks it as §8.3 wants.
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
		return nil, errors.New("it is something else")
	}
	key, err := s.keys.key(ctx, c.Header.KeyID)
	if err != nil {
		return nil, fmt.Errorf("its key: %w", asUnavailable(err))
	}
	if err := c.Verify(key); err != nil {
		return nil, err
	}
	claims, err := parseStatusClaims(c.Payload)
	switch {
	case err != nil:
		return nil, err
	case claims.uri != uri:
		return nil, errors.New("it is another list")
	case claims.issuer != "" && claims.issuer != s.keys.URL:
		return nil, errors.New("it is of another issuer")
	case asked.Before(claims.issuedAt.Add(-s.tolerance)):
		return nil, errors.New("it is not valid yet")
	case !claims.expiry.IsZero() && !asked.Before(claims.expiry):
		return nil, errors.New("it has expired")
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

// asUnavailable is an error that says nothing about a token, even if its cause
// speaks of the list's signature as it would of a token's.
func asUnavailable(err error) error {
	return fmt.Errorf("%w: %s", latchkey.ErrUnavailable, err.Error())
}
