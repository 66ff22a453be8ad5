package resource

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// typAccessToken is the header `typ` of access tokens (RFC 9068 §2.1).
const typAccessToken = "at+jwt"

// Verifier verifies the access tokens of one issuer for one resource server. It
// is safe for concurrent use, and there should be one for all requests: it keeps
// keys, verified tokens and revocations.
type Verifier struct {
	options    VerifierOptions
	audience   string
	keys       *keySource
	cache      *tokenCache     // nil: none
	revocation revocationCheck // nil: none
	feed       *feed           // nil: not followed

	closed  atomic.Bool
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// revocationCheck refuses tokens that are otherwise good. `text` is the token as
// it came.
type revocationCheck interface {
	check(ctx context.Context, t *Token, text string, now time.Time) error
}

// NewVerifier makes a verifier of tokens that `issuer` (the issuer URL of a
// tenant) made for `audience` (the resource server's own name in `aud`). It
// refuses options that contradict each other. It waits for nothing: keys and
// revocations are fetched in the background, and only the first tokens wait for
// them. The verifier must be closed.
func NewVerifier(issuer, audience string, o VerifierOptions) (*Verifier, error) {
	if audience == "" {
		return nil, errors.New("latchkey: a verifier needs its audience") // else it would take tokens for others
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	d, err := wire.NewIssuer(issuer, o.HTTPClient, o.Now)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &Verifier{
		options: o, audience: audience, cancel: cancel,
		keys: newKeySource(d), cache: newTokenCache(o.CacheSize),
	}
	v.keys.set.StartRefresh(ctx, o.Now())
	v.startRevocationCheck(ctx, d)
	return v, nil
}

// startRevocationCheck makes the check of revocations, and what that does in the background.
func (v *Verifier) startRevocationCheck(ctx context.Context, d *wire.Issuer) {
	own := wire.Credentials{ID: v.options.ClientID, Secret: v.options.ClientSecret}
	ask := &introspector{d, own, v.audience, v.options.IntrospectionCache, v.options.Logger}
	switch v.options.Revocation {
	case Feed:
		v.feed = newFeed(d, own, ask, v.options)
		v.revocation = v.feed
		v.running.Go(func() { v.feed.run(ctx) })
		v.running.Go(func() { v.feed.monitor(ctx) })
	case StatusList:
		v.revocation = newStatusLists(v.keys, v.options.Tolerance)
	case Introspection:
		v.revocation = ask
	}
}

// Close ends what the verifier does in the background. It verifies nothing any
// more: [latchkey.ErrUnavailable].
func (v *Verifier) Close() error {
	v.closed.Store(true)
	v.cancel()
	v.running.Wait()
	return nil
}
