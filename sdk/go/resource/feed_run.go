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
	// firstPause and lastPause bound the pause between two streams.
	firstPause, lastPause = 250 * time.Millisecond, 5 * time.Second
	// refusedPause is the pause after the server rejected the client, and the
	// longest Retry-After that is honored.
	refusedPause = 30 * time.Second
	// pruneInterval is the interval between removals of expired entries, during
	// which verifiers wait for a moment.
	pruneInterval = time.Minute
	// stableAfter is how long a stream must live for earlier failures to be
	// forgotten.
	stableAfter = 10 * time.Second
)

// errRefused means that the server does not let the client follow revocations.
var errRefused = errors.New("the issuer rejected ClientID and ClientSecret, or the client may not follow revocations for the audience: add the audience to the client's resource_identifiers")

// errSilent ends a stream that gives no sign of life.
var errSilent = fmt.Errorf("the stream gave no sign of life for %s", feedSilence)

// busyError is the error for a response that is neither a stream nor a
// rejection of the client.
type busyError struct {
	status int
	after  time.Duration
}

// Error implements error.
func (e busyError) Error() string {
	return fmt.Sprintf("unexpected response from /revocations: status %d", e.status)
}

// run keeps a stream open until the context ends.
func (f *feed) run(ctx context.Context) {
	defer f.markStarted() // release waiters when the verifier is closed
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

// reconnectDelay returns the pause after a number of failures. It is random in
// part: all verifiers lose a server at the same moment.
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

// streamEnded records why a stream ended.
func (f *feed) streamEnded(err error) {
	f.mu.Lock()
	first := f.lastErr == nil
	f.lastErr = err
	f.mu.Unlock()
	switch {
	case errors.Is(err, errRefused):
		f.log.Error("latchkey: cannot follow revocations", "client", f.Credentials.ID, "error", err)
	case first:
		f.log.Info("latchkey: revocation stream ended", "error", err)
	}
	f.markStarted()
}

// monitor logs when the feed is lost and restored, and removes expired entries.
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
			f.log.Warn("latchkey: revocation feed lost: introspecting every token", "error", problem)
		case problem != nil && !lost:
			f.log.Warn("latchkey: revocation feed lost: rejecting every token", "error", problem)
		case problem == nil && lost:
			f.log.Info("latchkey: revocation feed restored")
		}
		lost = problem != nil
	}
}
