package resource

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Revocation is how a verifier learns that a token was revoked before its end.
type Revocation int

const (
	// Feed follows the issuer's stream of revocations: a revoked token is refused
	// within a second, and no request waits for the network.
	Feed Revocation = iota
	// StatusList looks the token up in the issuer's Token Status List, which is
	// fetched anew when its `ttl` is over (60 s). Tokens without `status` are
	// refused: the client must have been configured to get it.
	StatusList
	// Introspection asks the issuer about every token (RFC 7662).
	Introspection
	// None accepts tokens until they expire.
	None
)

// OnFeedLoss is what a verifier does while it does not know what is revoked: before
// the feed's first snapshot, and when it has been silent for 30 s.
type OnFeedLoss int

const (
	// FailClosed refuses every token, with [latchkey.ErrUnavailable].
	FailClosed OnFeedLoss = iota
	// FallBackToIntrospection asks the issuer about each.
	FallBackToIntrospection
)

const (
	defaultTolerance = 30 * time.Second
	// maxTolerance: the feed forgets a revocation when tokens have been over for
	// a little longer than this.
	maxTolerance          = time.Minute
	defaultCacheSize      = 10_000
	maxIntrospectionCache = time.Minute
)

// VerifierOptions change what a verifier does. The zero value follows the feed,
// and lacks only the client's credentials.
type VerifierOptions struct {
	Revocation Revocation
	OnFeedLoss OnFeedLoss // with Feed only

	// ClientID and ClientSecret are those of a secret client of the issuer that
	// stands for the resource server. Feed and Introspection need them.
	ClientID, ClientSecret string

	// MaxTokenAge refuses tokens that were issued longer ago, whenever they
	// expire. 0: no bound.
	MaxTokenAge time.Duration

	// Tolerance is how far the clocks of issuer and resource server may differ,
	// at most a minute. 0: 30 s. Negative: not at all.
	Tolerance time.Duration

	// AcceptTypJWT also takes tokens with the header `typ` JWT, which the server
	// issues to clients that are configured so. Without it they must say at+jwt
	// (RFC 9068 §4).
	AcceptTypJWT bool

	// CacheSize is how many verified tokens are kept, so that each is verified
	// once. An entry takes about 2 KiB. 0: 10,000. Negative: none.
	CacheSize int

	// IntrospectionCache is for how long the issuer's word that a token is active
	// is believed, at most a minute: so much later may a revocation be noticed.
	// It is for Introspection, and for FallBackToIntrospection. 0: it is asked each time.
	IntrospectionCache time.Duration

	// HTTPClient does every request. Redirects are not followed. nil: a new one.
	HTTPClient *http.Client
	// Logger is told when the feed is lost and found, and of faults of the
	// configuration. nil: [slog.Default].
	Logger *slog.Logger
	// Now is the clock. nil: [time.Now].
	Now func() time.Time
}

// validate refuses options that cannot be meant, and fills in what is left open.
func (o *VerifierOptions) validate() error {
	asks := o.Revocation == Feed || o.Revocation == Introspection
	introspects := o.Revocation == Introspection || o.Revocation == Feed && o.OnFeedLoss == FallBackToIntrospection
	switch {
	case o.Revocation < Feed || o.Revocation > None:
		return fmt.Errorf("latchkey: invalid Revocation %d", o.Revocation)
	case o.OnFeedLoss < FailClosed || o.OnFeedLoss > FallBackToIntrospection:
		return fmt.Errorf("latchkey: invalid OnFeedLoss %d", o.OnFeedLoss)
	case o.OnFeedLoss != FailClosed && o.Revocation != Feed:
		return errors.New("latchkey: OnFeedLoss is for the feed, which is not followed")
	case asks && (o.ClientID == "" || o.ClientSecret == ""):
		return errors.New("latchkey: Feed and Introspection need ClientID and ClientSecret")
	case o.IntrospectionCache != 0 && !introspects:
		return errors.New("latchkey: IntrospectionCache is for Introspection and FallBackToIntrospection")
	case o.IntrospectionCache < 0 || o.IntrospectionCache > maxIntrospectionCache:
		return fmt.Errorf("latchkey: IntrospectionCache is not between 0 and %s", maxIntrospectionCache)
	case o.Tolerance > maxTolerance:
		return fmt.Errorf("latchkey: Tolerance is above %s", maxTolerance)
	case o.IntrospectionCache > 0 && o.CacheSize < 0:
		return errors.New("latchkey: IntrospectionCache needs a cache of tokens")
	case o.MaxTokenAge < 0:
		return errors.New("latchkey: MaxTokenAge is negative")
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
