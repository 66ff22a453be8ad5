package resource

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// Verify checks an access token and returns its claims. token is the text after
// "Bearer " in the Authorization header.
//
// The error wraps [latchkey.ErrInvalidToken] if the token must be rejected, and
// [latchkey.ErrUnavailable] if it could not be checked. It never contains the
// token.
func (v *Verifier) Verify(ctx context.Context, token string) (*Token, error) {
	if v.closed.Load() {
		return nil, fmt.Errorf("%w: the verifier is closed", latchkey.ErrUnavailable)
	}
	if len(token) > wire.MaxToken {
		return nil, fmt.Errorf("%w: longer than %d bytes", latchkey.ErrInvalidToken, wire.MaxToken)
	}
	t, err := v.verifyCached(ctx, token)
	if err != nil {
		return nil, err
	}
	now := v.options.Now()
	if err := v.checkTimes(t, now); err != nil {
		return nil, err
	}
	if v.revocation != nil {
		if err := v.revocation.check(ctx, t, token, now); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// verifyCached returns a token that the issuer signed for this audience, with a
// key that it still publishes.
func (v *Verifier) verifyCached(ctx context.Context, text string) (*Token, error) {
	if v.cache == nil {
		return v.verifyUncached(ctx, text)
	}
	digest := tokenDigest(sha256.Sum256([]byte(text)))
	if t := v.cache.get(digest); t != nil {
		held, err := v.keys.StillPublishes(ctx, t.key, v.options.Now())
		switch {
		case err != nil:
			return nil, err
		case held:
			return t, nil
		}
		v.cache.drop(digest)
	}
	t, err := v.verifyUncached(ctx, text)
	if err == nil && v.checkTimes(t, v.options.Now()) == nil {
		v.cache.put(digest, t)
	}
	return t, err
}

// verifyUncached checks everything that cannot change (RFC 9068 §4).
func (v *Verifier) verifyUncached(ctx context.Context, text string) (*Token, error) {
	c, err := wire.ParseCompact(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", latchkey.ErrInvalidToken, err)
	}
	if !c.Header.IsType(typAccessToken) && !(v.options.AcceptTypJWT && c.Header.IsType("JWT")) {
		return nil, fmt.Errorf("%w: typ does not match: expected at+jwt", latchkey.ErrInvalidToken)
	}
	t, err := parseToken(c.Payload)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", latchkey.ErrInvalidToken, err)
	case t.Issuer != v.keys.URL:
		return nil, fmt.Errorf("%w: iss does not match: expected %q", latchkey.ErrInvalidToken, v.keys.URL)
	case !slices.Contains(t.Audience, v.audience):
		return nil, fmt.Errorf("%w: aud does not match: expected %q", latchkey.ErrInvalidToken, v.audience)
	}
	if t.key, err = v.keys.Key(ctx, c.Header.KeyID); err != nil {
		return nil, err
	}
	if err := c.Verify(t.key); err != nil {
		return nil, fmt.Errorf("%w: %w", latchkey.ErrInvalidToken, err)
	}
	return t, nil
}

// checkTimes checks the claims whose verdict depends on the time.
func (v *Verifier) checkTimes(t *Token, now time.Time) error {
	switch {
	case !now.Before(t.Expiry.Add(v.options.Tolerance)):
		return fmt.Errorf("%w: expired", latchkey.ErrInvalidToken)
	case now.Before(t.IssuedAt.Add(-v.options.Tolerance)), now.Before(t.notBefore.Add(-v.options.Tolerance)):
		return fmt.Errorf("%w: not valid yet: iat or nbf is in the future", latchkey.ErrInvalidToken)
	case v.options.MaxTokenAge > 0 && now.Sub(t.IssuedAt) > v.options.MaxTokenAge:
		return fmt.Errorf("%w: iat is longer ago than MaxTokenAge", latchkey.ErrInvalidToken)
	}
	return nil
}
