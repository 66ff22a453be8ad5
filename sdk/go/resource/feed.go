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
	// feedSilence is after how long without a sign of life the feed is lost. The
	// server gives one every 10 s.
	feedSilence = 30 * time.Second
	// feedCheckInterval is how often the feed is looked at.
	feedCheckInterval = time.Second
	// propagationDelay is how long after a revocation every node knows of it, so that what
	// introspection says of the tokens concerned stays true.
	propagationDelay = 30 * time.Second
)

// feed follows the issuer's stream of revocations. What it knows is true of a
// moment, the last that the stream has vouched for; when that is too long ago,
// it says so.
type feed struct {
	*wire.Issuer
	wire.Credentials
	log          *slog.Logger
	onLoss       OnFeedLoss
	introspector *introspector
	revoked      *revokedSet
	once         sync.Once
	started      chan struct{} // closed when the first stream has told what is known, has failed or keeps us waiting

	mu          sync.RWMutex
	asOf        time.Time // by our clock; zero: nothing was heard yet
	lastErr     error     // why the last stream ended; nil: one is open and has told what is known
	lastEventID string    // id of the last event that was taken in

	offset         time.Duration // of our clock to the server's, as the quickest answer told it
	offsetMeasured time.Time     // when; zero: never
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
	problem := f.checkCurrent(now) // before the look at the set, which what is heard afterwards may still change
	if f.revoked.revokes(t) {
		return fmt.Errorf("%w: revoked", latchkey.ErrInvalidToken)
	}
	if problem != nil {
		if f.onLoss == FailClosed {
			return problem
		}
		return f.introspector.check(ctx, t, text, now)
	}
	since, doubted := f.revoked.mayRevoke(t)
	if !doubted || t.confirmedActive.Load() >= since.Add(propagationDelay).UnixNano() {
		return nil
	}
	return f.introspector.introspect(ctx, t, text, now)
}

// waitForStart gives the first stream a moment to begin.
func (f *feed) waitForStart(ctx context.Context) {
	select {
	case <-f.started:
	case <-ctx.Done():
	}
}

// markStarted lets go those who wait for the first stream.
func (f *feed) markStarted() { f.once.Do(func() { close(f.started) }) }

// checkCurrent says why it is not known what is revoked; nil: it is known.
func (f *feed) checkCurrent(now time.Time) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch {
	case f.asOf.IsZero() && f.lastErr != nil:
		return fmt.Errorf("%w: the revocation feed has not begun: %w", latchkey.ErrUnavailable, f.lastErr)
	case f.asOf.IsZero():
		return fmt.Errorf("%w: the revocation feed has not begun", latchkey.ErrUnavailable)
	case elapsed(f.asOf, now) < feedSilence:
		return nil
	case f.lastErr != nil:
		return fmt.Errorf("%w: the revocation feed is lost: %w", latchkey.ErrUnavailable, f.lastErr)
	default:
		return fmt.Errorf("%w: the revocation feed is silent", latchkey.ErrUnavailable)
	}
}

// elapsed is the time between two moments, by the clock that says more: the
// monotonic one stands still while a machine sleeps, the other may be set back.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}
