package latchkey

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Target narrows an access token to a part of what its session was granted
// (RFC 8707 §2.2, RFC 6749 §6). What a target leaves out stays whole; the zero
// value is the session's own access token, for every target of the session.
type Target struct {
	Audience []string // who the token is for
	Resource []string // the same, as URIs
	Scope    []string // what it may be used for
}

// maxTargets bounds how many targets' tokens a handle keeps.
const maxTargets = 16

// TokenFor is an access token for a target alone, that will live for a moment
// yet: the one that the session has, or a fresh one. A resource server that is
// handed it can use it nowhere else. While the server is out of reach, the old
// one is returned for as long as it lives.
//
// It comes without a refresh token or session token, unless the target is the
// zero value; the session's own access token stays what it is. Errors are those
// of [Client.RefreshSession], among them an [Error] invalid_target or
// invalid_scope for what the session was not granted.
func (c *Client) TokenFor(ctx context.Context, s *Session, target Target) (Tokens, error) {
	had := s.tokenFor(target.key())
	if s.Err() == nil && c.isFresh(had) && !s.hasDueStepUp(c.now()) {
		return had, nil
	}
	return c.refreshBeforeExpiry(ctx, s, target, had)
}

// ReplaceToken is TokenFor when a resource server, or the session API, has
// refused the access token `refused` as invalid: the one that the session has
// instead by now, or a fresh one. An error that wraps [ErrSessionEnded] says that
// the refusal was right, one that wraps [ErrUnavailable] that nobody knows.
func (c *Client) ReplaceToken(ctx context.Context, s *Session, target Target, refused string) (Tokens, error) {
	if had := s.tokenFor(target.key()); had.AccessToken != "" && had.AccessToken != refused {
		return c.TokenFor(ctx, s, target)
	}
	return c.refreshFor(ctx, s, target, refused)
}

// refreshBeforeExpiry does not wait for the whole retry window while there is a token that
// still lives. The refresh goes on without it.
func (c *Client) refreshBeforeExpiry(ctx context.Context, s *Session, target Target, had Tokens) (Tokens, error) {
	alive := func(t Tokens) bool { return c.now().Before(t.Expiry) }
	patience := ctx
	if alive(had) {
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(ctx, c.retryWindow/3)
		defer cancel()
	}
	t, err := c.refreshFor(patience, s, target, had.AccessToken)
	if errors.Is(err, ErrUnavailable) && alive(had) {
		s.deferPending(c.now().Add(leeway))
		return had, nil
	}
	return t, err
}

// form is what a request says of the target.
func (t Target) form() url.Values {
	form := url.Values{}
	if len(t.Scope) > 0 {
		form.Set("scope", strings.Join(sorted(t.Scope), " "))
	}
	form["audience"], form["resource"] = sorted(t.Audience), sorted(t.Resource)
	return form
}

// key tells targets apart, whatever their order; empty: none.
func (t Target) key() string { return t.form().Encode() }

func sorted(values []string) []string { return slices.Compact(slices.Sorted(slices.Values(values))) }

// tokenFor is the token that the handle has for a target. Empty: none.
func (s *Session) tokenFor(key string) Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == "" {
		return s.tokens
	}
	return s.targetTokens[key]
}

// keepTargetToken keeps a token for a target. If there are too many, the oldest goes.
func (s *Session) keepTargetToken(key string, t Tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.targetTokens == nil {
		s.targetTokens = map[string]Tokens{}
	}
	s.targetTokens[key] = t
	if len(s.targetTokens) > maxTargets {
		delete(s.targetTokens, oldest(s.targetTokens))
	}
}

func oldest(tokens map[string]Tokens) (key string) {
	var end time.Time
	for k, t := range tokens {
		if key == "" || t.Expiry.Before(end) {
			key, end = k, t.Expiry
		}
	}
	return key
}

// dropTargetTokens forgets the tokens for targets, which say what the session was worth.
func (s *Session) dropTargetTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targetTokens = nil
}
