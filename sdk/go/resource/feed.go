package resource

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

const (
	// feedSilence is how long the feed may give no sign of life before it
	// counts as lost. The server sends one every 10 s.
	feedSilence = 30 * time.Second
	// feedCheckInterval is the interval between checks of the feed.
	feedCheckInterval = time.Second
	// propagationDelay is the time after a revocation within which every server
	// node learns of it. Later answers of introspection about the affected
	// tokens are final.
	propagationDelay = 30 * time.Second
)

// feed follows the issuer's stream of revocations. It knows every revocation up
// to asOf; if asOf is too old, checkCurrent returns an error.
type feed struct {
	*wire.Issuer
	wire.Credentials
	log          *slog.Logger
	onLoss       OnFeedLoss
	introspector *introspector
	revoked      *revokedSet
	once         sync.Once
	started      chan struct{} // closed when the first stream has delivered its snapshot, has failed, or has taken too long

	mu          sync.RWMutex
	asOf        time.Time // every revocation until then is known, by the verifier's clock; zero: none yet
	lastErr     error     // why the last stream ended; nil: a stream is open and has delivered its snapshot
	lastEventID string    // id of the last event that was processed

	offset         time.Duration // verifier's clock minus server's clock, at most; from the fastest response so far
	offsetMeasured time.Time     // when offset was measured; zero: never
}

func newFeed(d *wire.Issuer, c wire.Credentials, ask *introspector, o VerifierOptions) *feed {
	return &feed{
		Issuer: d, Credentials: c, log: o.Logger.With("issuer", d.URL), onLoss: o.OnFeedLoss, introspector: ask,
		revoked: newRevokedSet(), started: make(chan struct{}),
	}
}

// check implements revocationCheck.
func (f *feed) check(ctx context.Context, t *Token, text string, now time.Time) error {
	f.waitForStart(ctx)
	notCurrent := f.checkCurrent(now) // before reading the set: entries that arrive later only add to it
	if f.revoked.revokes(t) {
		return fmt.Errorf("%w: revoked", latchkey.ErrInvalidToken)
	}
	if notCurrent != nil {
		if f.onLoss == FailClosed {
			return notCurrent
		}
		return f.introspector.check(ctx, t, text, now)
	}
	since, doubted := f.revoked.mayRevoke(t)
	if !doubted || t.confirmedActive.Load() >= since.Add(propagationDelay).UnixNano() {
		return nil
	}
	return f.introspector.introspect(ctx, t, text, now)
}

// waitForStart waits for the first stream, until the context ends.
func (f *feed) waitForStart(ctx context.Context) {
	select {
	case <-f.started:
	case <-ctx.Done():
	}
}

// markStarted releases the callers of waitForStart.
func (f *feed) markStarted() { f.once.Do(func() { close(f.started) }) }

// checkCurrent returns nil if the revocations until now are known, and
// otherwise an error that wraps ErrUnavailable.
func (f *feed) checkCurrent(now time.Time) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch {
	case f.asOf.IsZero() && f.lastErr != nil:
		return fmt.Errorf("%w: revocation feed not started: %w", latchkey.ErrUnavailable, f.lastErr)
	case f.asOf.IsZero():
		return fmt.Errorf("%w: revocation feed not started", latchkey.ErrUnavailable)
	case elapsed(f.asOf, now) < feedSilence:
		return nil
	case f.lastErr != nil:
		return fmt.Errorf("%w: revocation feed lost: %w", latchkey.ErrUnavailable, f.lastErr)
	default:
		return fmt.Errorf("%w: revocation feed lost: no sign of life for %s", latchkey.ErrUnavailable, feedSilence)
	}
}

// elapsed returns the time between two moments by the monotonic or the wall
// clock, whichever shows more: the monotonic clock stops while a machine
// sleeps, and the wall clock may be set back.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}
