package latchkey

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
)

// statusLists has the status lists that tokens name, by URL.
type statusLists struct {
	keys      *keySource
	tolerance time.Duration

	mu    sync.Mutex
	lists map[string]*cached[*statusList]
}

func newStatusLists(keys *keySource, tolerance time.Duration) *statusLists {
	return &statusLists{keys: keys, tolerance: tolerance, lists: map[string]*cached[*statusList]{}}
}

// check implements revocationCheck. What is wrong with a list says nothing about
// the token: ErrUnavailable.
func (s *statusLists) check(ctx context.Context, t *Token, _ string, now time.Time) error {
	switch {
	case t.status == nil:
		return fmt.Errorf("%w: it has no status", ErrInvalidToken)
	case !s.below(t.status.URI):
		return fmt.Errorf("%w: its status is not with its issuer", ErrInvalidToken)
	}
	list, err := s.list(t.status.URI).current(ctx, now)
	if err != nil {
		return err
	}
	switch status, known := list.value.at(t.status.Index); {
	case !known:
		return fmt.Errorf("%w: its status is not in the list", ErrInvalidToken)
	case status != 0: // suspended, or of a meaning that only the issuer knows
		return fmt.Errorf("%w: revoked", ErrInvalidToken)
	}
	return nil
}

// below says whether a URL is under the issuer: a token must not make us ask
// somebody else.
func (s *statusLists) below(uri string) bool {
	rest, under := strings.CutPrefix(uri, s.keys.issuer+"/")
	u, err := url.Parse(uri)
	return under && rest != "" && err == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && u.RawPath == "" && path.Clean(u.Path) == u.Path
}

func (s *statusLists) list(uri string) *cached[*statusList] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lists[uri]; l != nil {
		return l
	}
	now := s.keys.now()
	maps.DeleteFunc(s.lists, func(_ string, l *cached[*statusList]) bool {
		h, _ := l.state()
		return h != nil && !now.Before(h.last)
	})
	l := &cached[*statusList]{now: s.keys.now, fetch: func(ctx context.Context, _ *held[*statusList]) (*held[*statusList], error) {
		h, err := s.download(ctx, uri)
		if err != nil && !errors.Is(err, ErrUnavailable) {
			err = fmt.Errorf("%w: the status list %s: %w", ErrUnavailable, uri, err)
		}
		return h, err
	}}
	s.lists[uri] = l
	return l
}

// download fetches a list and checks it as §8.3 wants.
func (s *statusLists) download(ctx context.Context, uri string) (*held[*statusList], error) {
	asked := s.keys.now()
	text, _, err := s.keys.read(ctx, uri, "application/"+typStatusList, maxStatusList)
	if err != nil {
		return nil, err
	}
	c, err := parseCompact(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, err
	}
	if !c.header.is(typStatusList) {
		return nil, errors.New("it is something else")
	}
	key, err := s.keys.key(ctx, c.header.kid)
	if err != nil {
		return nil, fmt.Errorf("its key: %w", unavailable(err))
	}
	if err := c.verify(key); err != nil {
		return nil, err
	}
	claims, err := parseStatusClaims(c.payload)
	switch {
	case err != nil:
		return nil, err
	case claims.uri != uri:
		return nil, errors.New("it is another list")
	case claims.issuer != "" && claims.issuer != s.keys.issuer:
		return nil, errors.New("it is of another issuer")
	case asked.Before(claims.issuedAt.Add(-s.tolerance)):
		return nil, errors.New("it is not valid yet")
	case !claims.expiry.IsZero() && !asked.Before(claims.expiry):
		return nil, errors.New("it has expired")
	}
	h := &held[*statusList]{value: claims.list, asked: asked, fresh: asked.Add(claims.life), last: asked.Add(claims.life)}
	if !claims.expiry.IsZero() {
		h.last = claims.expiry
	}
	if h.fresh.After(h.last) {
		h.fresh = h.last
	}
	return h, nil
}

// unavailable is an error that says nothing about a token, even if its cause
// speaks of the list's signature as it would of a token's.
func unavailable(err error) error { return fmt.Errorf("%w: %s", ErrUnavailable, err.Error()) }
