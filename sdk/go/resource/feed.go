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
	// feedWatch is how often the feed is looked at.
	feedWatch = time.Second
	// settled is how long after a revocation every node knows of it, so that what
	// introspection says of the tokens concerned stays true.
	settled = 30 * time.Second
)

// feed follows the issuer's stream of revocations. What it knows is true of a
// moment, the last that the stream has vouched for; when that is too long ago,
// it says so.
type feed struct {
	*wire.Issuer
	wire.Credentials
	log     *slog.Logger
	lost    OnFeedLoss
	ask     *introspector
	revoked *revokedSet
	once    sync.Once
	begun   chan struct{} // closed when the first stream has told what is known, has failed or keeps us waiting

	mu      sync.RWMutex
	heard   time.Time // by our clock; zero: nothing was heard yet
	problem error     // why the last stream ended; nil: one is open and has told what is known
	last    string    // id of the last event that was taken in

	offset   time.Duration // of our clock to the server's, as the quickest answer told it
	measured time.Time     // when; zero: never
}

func newFeed(d *wire.Issuer, c wire.Credentials, ask *introspector, o VerifierOptions) *feed {
	return &feed{
		Issuer: d, Credentials: c, log: o.Logger.With("issuer", d.URL), lost: o.OnFeedLoss, ask: ask,
		revoked: newRevokedSet(), begun: make(chan struct{}),
	}
}

// check implements revocationCheck.
func (f *feed) check(ctx context.Context, t *Token, text string, now time.Time) error {
	f.wait(ctx)
	problem := f.silent(now) // before the look at the set, which what is heard afterwards may still change
	if f.revoked.names(t) {
		return fmt.Errorf("%w: revoked", latchkey.ErrInvalidToken)
	}
	if problem != nil {
		if f.lost == FailClosed {
			return problem
		}
		return f.ask.check(ctx, t, text, now)
	}
	since, doubted := f.revoked.doubts(t)
	if !doubted || t.active.Load() >= since.Add(settled).UnixNano() {
		return nil
	}
	return f.ask.confirm(ctx, t, text, now)
}

// wait gives the first stream a moment to begin.
func (f *feed) wait(ctx context.Context) {
	select {
	case <-f.begun:
	case <-ctx.Done():
	}
}

// begin lets go those who wait for the first stream.
func (f *feed) begin() { f.once.Do(func() { close(f.begun) }) }

// silent says why it is not known what is revoked; nil: it is known.
func (f *feed) silent(now time.Time) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch {
	case f.heard.IsZero() && f.problem != nil:
		return fmt.Errorf("%w: the revocation feed has not begun: %w", latchkey.ErrUnavailable, f.problem)
	case f.heard.IsZero():
		return fmt.Errorf("%w: the revocation feed has not begun", latchkey.ErrUnavailable)
	case elapsed(f.heard, now) < feedSilence:
		return nil
	case f.problem != nil:
		return fmt.Errorf("%w: the revocation feed is lost: %w", latchkey.ErrUnavailable, f.problem)
	default:
		return fmt.Errorf("%w: the revocation feed is silent", latchkey.ErrUnavailable)
	}
}

// elapsed is the time between two moments, by the clock that says more: the
// monotonic one stands still while a machine sleeps, the other may be set back.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}
