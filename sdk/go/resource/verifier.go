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
// is safe for concurrent use. Make one for the whole program: it keeps keys,
// verified tokens and revocations.
type Verifier struct {
	options    VerifierOptions
	audience   string
	keys       *wire.KeySource
	cache      *tokenCache     // nil: no cache
	revocation revocationCheck // nil: not checked
	feed       *feed           // nil: not used

	closed  atomic.Bool
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// revocationCheck rejects revoked tokens. text is the encoded token.
type revocationCheck interface {
	check(ctx context.Context, t *Token, text string, now time.Time) error
}

// NewVerifier returns a verifier of access tokens. issuer is the issuer URL of
// a tenant, and audience is the resource server's own name in `aud`. It returns
// an error if options are missing or contradict each other.
//
// NewVerifier does not wait for the network: keys and revocations are fetched
// in the background, and the first calls of Verify wait for them. Call
// [Verifier.Close] when the verifier is no longer used.
func NewVerifier(issuer, audience string, o VerifierOptions) (*Verifier, error) {
	if audience == "" {
		return nil, errors.New("resource: the audience is required") // otherwise tokens for other resource servers would pass
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
		keys: wire.NewKeySource(d), cache: newTokenCache(o.CacheSize),
	}
	v.keys.Set.StartRefresh(ctx, o.Now())
	v.startRevocationCheck(ctx, d)
	return v, nil
}

// startRevocationCheck sets up the revocation check and starts its background
// work.
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

// Close ends the verifier's background work. Afterwards Verify returns
// [latchkey.ErrUnavailable].
func (v *Verifier) Close() error {
	v.closed.Store(true)
	v.cancel()
	v.running.Wait()
	return nil
}
