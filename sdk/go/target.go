package latchkey

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Target narrows an access token to a part of what its session was granted (RFC
// 8707 §2.2, RFC 6749 §6). An empty field keeps everything that was granted.
// The zero value means the session's own access token.
type Target struct {
	Audience []string // intended recipients of the token
	Resource []string // more recipients, as URIs
	Scope    []string // permitted uses
}

// maxTargets bounds how many targets' tokens a Session keeps.
const maxTargets = 16

// TokenFor returns an access token for a target alone, refreshed if it expires
// within 15 s. A resource server that receives it cannot use it elsewhere.
// While the server is unreachable, TokenFor returns the old access token until
// that expires.
//
// The result has no refresh token and no session token, unless the target is
// the zero value. The session's own access token does not change. Errors are
// those of [Client.RefreshSession], including an [Error] invalid_target or
// invalid_scope for what the session was not granted.
func (c *Client) TokenFor(ctx context.Context, s *Session, target Target) (Tokens, error) {
	had := s.tokenFor(target.key())
	if s.Err() == nil && c.isFresh(had) && !s.hasDueStepUp(c.now()) {
		return had, nil
	}
	return c.refreshBeforeExpiry(ctx, s, target, had)
}

// ReplaceToken returns another access token for a target after a resource
// server, or the session API, has rejected the token `refused` as invalid. If
// the session has a newer one already, that is returned; otherwise it is
// refreshed. An error that wraps [ErrSessionEnded] confirms that the session
// has ended; after one that wraps [ErrUnavailable] this is not known.
func (c *Client) ReplaceToken(ctx context.Context, s *Session, target Target, refused string) (Tokens, error) {
	if had := s.tokenFor(target.key()); had.AccessToken != "" && had.AccessToken != refused {
		return c.TokenFor(ctx, s, target)
	}
	return c.refreshFor(ctx, s, target, refused)
}

// refreshBeforeExpiry refreshes a token, but waits for only a third of the
// retry window if the old one is still valid. The refresh continues in the
// background.
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

// form returns the parameters of the target in a request.
func (t Target) form() url.Values {
	form := url.Values{}
	if len(t.Scope) > 0 {
		form.Set("scope", strings.Join(sorted(t.Scope), " "))
	}
	form["audience"], form["resource"] = sorted(t.Audience), sorted(t.Resource)
	return form
}

// key identifies a target regardless of the order of its values. The zero value
// has an empty key.
func (t Target) key() string { return t.form().Encode() }

func sorted(values []string) []string { return slices.Compact(slices.Sorted(slices.Values(values))) }

// tokenFor returns the current token for a target, if any.
func (s *Session) tokenFor(key string) Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == "" {
		return s.tokens
	}
	return s.targetTokens[key]
}

// keepTargetToken stores a token for a target. Beyond the limit, the token that
// expires first is dropped.
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

// dropTargetTokens drops the tokens for targets after the session's
// authentication has changed.
func (s *Session) dropTargetTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targetTokens = nil
}
