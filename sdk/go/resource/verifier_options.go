package resource

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Revocation selects how a verifier learns that a token was revoked before it
// expired.
type Revocation int

const (
	// Feed follows the issuer's stream of revocations: a revoked token is
	// rejected within a second, and no request waits for the network.
	Feed Revocation = iota
	// StatusList looks tokens up in the issuer's Token Status List, which is
	// fetched again when its `ttl` is over (60 s). Tokens without `status` are
	// rejected: set status_list for the client.
	StatusList
	// Introspection asks the issuer about every token (RFC 7662).
	Introspection
	// None accepts tokens until they expire.
	None
)

// OnFeedLoss selects what a verifier does while the revocation feed is lost:
// before its first snapshot, and after 30 s without a sign of life.
type OnFeedLoss int

const (
	// FailClosed rejects every token with [latchkey.ErrUnavailable].
	FailClosed OnFeedLoss = iota
	// FallBackToIntrospection asks the issuer about every token.
	FallBackToIntrospection
)

const (
	defaultTolerance = 30 * time.Second
	// maxTolerance is bounded by the feed, which removes revocations shortly
	// after the tokens have expired.
	maxTolerance          = time.Minute
	defaultCacheSize      = 10_000
	maxIntrospectionCache = time.Minute
)

// VerifierOptions configure a [Verifier]. With the zero value it follows the
// feed, for which ClientID and ClientSecret are required.
type VerifierOptions struct {
	// Revocation selects how revoked tokens are recognized. Default: [Feed].
	Revocation Revocation
	// OnFeedLoss applies to [Feed] only. Default: [FailClosed].
	OnFeedLoss OnFeedLoss

	// ClientID and ClientSecret authenticate the resource server's own client
	// at the issuer. The client must be allowed to see tokens of the audience.
	// Required for [Feed] and [Introspection].
	ClientID, ClientSecret string

	// MaxTokenAge rejects tokens that were issued longer ago, even if they have
	// not expired. 0: no limit.
	MaxTokenAge time.Duration

	// Tolerance is how far the clocks of the issuer and the resource server may
	// differ, at most a minute. 0: 30 s. Negative: none.
	Tolerance time.Duration

	// AcceptTypJWT also accepts tokens whose header `typ` is JWT, which the
	// server issues to clients that are configured for it. By default `typ`
	// must be at+jwt (RFC 9068 §4), so that an ID token is never accepted as an
	// access token.
	AcceptTypJWT bool

	// CacheSize is the number of verified tokens to keep, so that a token's
	// signature is verified once. An entry takes about 2 KiB. 0: 10,000.
	// Negative: none.
	CacheSize int

	// IntrospectionCache is how long a positive introspection response is used,
	// at most a minute. It delays the detection of revocations by as much. It
	// applies to [Introspection] and [FallBackToIntrospection]. 0: every call
	// asks the issuer.
	IntrospectionCache time.Duration

	// HTTPClient sends all requests. Redirects are not followed. nil: a new
	// client.
	HTTPClient *http.Client
	// Logger receives a message when the feed is lost or restored, and about
	// errors of the configuration. nil: [slog.Default].
	Logger *slog.Logger
	// Now is the clock. nil: [time.Now].
	Now func() time.Time
}

// validate rejects options that contradict each other, and sets defaults.
func (o *VerifierOptions) validate() error {
	asks := o.Revocation == Feed || o.Revocation == Introspection
	introspects := o.Revocation == Introspection || o.Revocation == Feed && o.OnFeedLoss == FallBackToIntrospection
	switch {
	case o.Revocation < Feed || o.Revocation > None:
		return fmt.Errorf("resource: invalid Revocation %d", o.Revocation)
	case o.OnFeedLoss < FailClosed || o.OnFeedLoss > FallBackToIntrospection:
		return fmt.Errorf("resource: invalid OnFeedLoss %d", o.OnFeedLoss)
	case o.OnFeedLoss != FailClosed && o.Revocation != Feed:
		return errors.New("resource: OnFeedLoss requires Revocation to be Feed")
	case asks && (o.ClientID == "" || o.ClientSecret == ""):
		return errors.New("resource: Feed and Introspection require ClientID and ClientSecret")
	case o.IntrospectionCache != 0 && !introspects:
		return errors.New("resource: IntrospectionCache requires Introspection or FallBackToIntrospection")
	case o.IntrospectionCache < 0 || o.IntrospectionCache > maxIntrospectionCache:
		return fmt.Errorf("resource: invalid IntrospectionCache %s: expected 0 to %s", o.IntrospectionCache, maxIntrospectionCache)
	case o.Tolerance > maxTolerance:
		return fmt.Errorf("resource: invalid Tolerance %s: expected at most %s", o.Tolerance, maxTolerance)
	case o.IntrospectionCache > 0 && o.CacheSize < 0:
		return errors.New("resource: IntrospectionCache requires a token cache: CacheSize must not be negative")
	case o.MaxTokenAge < 0:
		return fmt.Errorf("resource: invalid MaxTokenAge %s: must not be negative", o.MaxTokenAge)
	}
	switch {
	case o.Tolerance == 0:
		o.Tolerance = defaultTolerance
	case o.Tolerance < 0:
		o.Tolerance = 0
	}
	if o.CacheSize == 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}
