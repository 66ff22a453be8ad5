package resource

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

const (
	// firstPause and lastPause bound the time between two streams.
	firstPause, lastPause = 250 * time.Millisecond, 5 * time.Second
	// refusedPause is the time until a server is asked again that refuses the
	// client, or that asks for so much time.
	refusedPause = 30 * time.Second
	// pruneInterval is how often what is over is forgotten, which keeps verifiers
	// waiting for a moment.
	pruneInterval = time.Minute
	// stableAfter is how long a stream lives that was no failure.
	stableAfter = 10 * time.Second
)

// errRefused means that the server does not let the client follow.
var errRefused = errors.New("the issuer refuses ClientID and ClientSecret, or the client does not stand for the audience (resource_identifiers)")

// errSilent ends a stream that gives no sign of life.
var errSilent = errors.New("the stream is silent")

// busyError is a server's wish not to be asked for a while.
type busyError struct {
	status int
	after  time.Duration
}

// Error implements error.
func (e busyError) Error() string { return fmt.Sprintf("the feed is answered %d", e.status) }

// run holds a stream open until the context ends.
func (f *feed) run(ctx context.Context) {
	defer f.markStarted() // nobody waits for what will not come
	defer time.AfterFunc(wire.FetchTimeout, f.markStarted).Stop()
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		err := f.followStream(ctx)
		if ctx.Err() != nil {
			return
		}
		if failures++; time.Since(began) > stableAfter {
			failures = 1
		}
		f.streamEnded(err)
		select {
		case <-time.After(reconnectDelay(failures, err)):
		case <-ctx.Done():
		}
	}
}

// reconnectDelay is how long to wait after so many failures, never the same for two
// followers: they all lose a server at the same moment.
func reconnectDelay(failures int, err error) time.Duration {
	var busy busyError
	switch {
	case errors.Is(err, errRefused):
		return refusedPause
	case errors.As(err, &busy) && busy.after > 0:
		return min(busy.after, refusedPause) + rand.N(firstPause)
	}
	return wire.Backoff(failures-1, firstPause, lastPause)
}

// streamEnded notes why a stream ended.
func (f *feed) streamEnded(err error) {
	f.mu.Lock()
	first := f.lastErr == nil
	f.lastErr = err
	f.mu.Unlock()
	switch {
	case errors.Is(err, errRefused):
		f.log.Error("latchkey: cannot follow revocations", "client", f.Credentials.ID, "error", err)
	case first:
		f.log.Info("latchkey: a stream of revocations ended", "error", err)
	}
	f.markStarted()
}

// monitor says when the feed is lost and when it is found again, and forgets what
// is over.
func (f *feed) monitor(ctx context.Context) {
	tick := time.NewTicker(feedCheckInterval)
	defer tick.Stop()
	lost, pruned := false, f.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := f.Now()
		if now.Sub(pruned) >= pruneInterval {
			pruned = now
			f.revoked.prune(now)
		}
		problem := f.checkCurrent(now)
		switch {
		case problem != nil && !lost && f.onLoss == FallBackToIntrospection:
			f.log.Warn("latchkey: revocations are not known: each token is introspected", "error", problem)
		case problem != nil && !lost:
			f.log.Warn("latchkey: revocations are not known: every token is refused", "error", problem)
		case problem == nil && lost:
			f.log.Info("latchkey: revocations are known again")
		}
		lost = problem != nil
	}
}
