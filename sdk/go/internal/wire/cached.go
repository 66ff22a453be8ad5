package wire

import (
	"context"
	"sync"
	"time"
)

// failurePause is how long a fetch that failed is not tried again.
const failurePause = 2 * time.Second

// Document is a document with the moments that bound its use.
type Document[T any] struct {
	Value       T
	RequestedAt time.Time // when it was asked for: it may be as old as this
	FreshUntil  time.Time // until then it is used without asking again
	UsableUntil time.Time // until then it serves while the issuer does not answer
}

// Cached is a document of the issuer that is fetched when it is needed, and a
// little before it grows old. It is safe for concurrent use; callers who need it
// at the same moment share a fetch.
type Cached[T any] struct {
	Now   func() time.Time
	Fetch func(ctx context.Context, before *Document[T]) (*Document[T], error) // errors are ErrUnavailable

	mu       sync.RWMutex
	current  *Document[T] // nil: there was none yet
	failed   time.Time
	failure  error         // of the last fetch; nil: it went well
	inflight chan struct{} // closed when the fetch under way ends; nil: there is none
}

// Current is a document that may be used. One that is about to grow old is
// fetched in the background, so that only an idle caller ever waits.
func (c *Cached[T]) Current(ctx context.Context, now time.Time) (*Document[T], error) {
	c.mu.RLock()
	h, failing := c.current, c.failure != nil
	c.mu.RUnlock()
	if h == nil {
		return c.Refresh(ctx, now)
	}
	early := h.FreshUntil.Add(-h.FreshUntil.Sub(h.RequestedAt) / 4)
	switch {
	case now.Before(early) && !now.Before(h.RequestedAt):
		return h, nil
	case now.Before(h.FreshUntil) || failing && now.Before(h.UsableUntil):
		c.StartRefresh(ctx, now)
		return h, nil
	}
	renewed, err := c.Refresh(ctx, now)
	if err != nil && now.Before(h.UsableUntil) {
		return h, nil
	}
	return renewed, err
}

// Refresh waits for a fetch.
func (c *Cached[T]) Refresh(ctx context.Context, now time.Time) (*Document[T], error) {
	if done := c.StartRefresh(ctx, now); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, Unavailable(ctx.Err())
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.failure != nil {
		return nil, c.failure
	}
	return c.current, nil
}

// StartRefresh begins a fetch, or joins the one under way. nil: the last one has just
// failed.
func (c *Cached[T]) StartRefresh(ctx context.Context, now time.Time) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inflight != nil {
		return c.inflight
	}
	if since := now.Sub(c.failed); c.failure != nil && since >= 0 && since < failurePause {
		return nil
	}
	done, before := make(chan struct{}), c.current
	c.inflight = done
	go func() {
		h, err := c.Fetch(context.WithoutCancel(ctx), before)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.failure = err; err != nil {
			c.failed = c.Now()
		} else {
			c.current = h
		}
		c.inflight = nil
		close(done)
	}()
	return done
}

// Peek tells what is held, and why the last fetch failed.
func (c *Cached[T]) Peek() (*Document[T], error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current, c.failure
}
