package wire

import (
	"context"
	"sync"
	"time"
)

// failurePause is the least time between a failed fetch and the next one.
const failurePause = 2 * time.Second

// Document is a fetched document, with the times that bound its use.
type Document[T any] struct {
	Value       T
	RequestedAt time.Time // when the request was sent; the document may be that old
	FreshUntil  time.Time // until then it is used without another request
	UsableUntil time.Time // until then it is used while the issuer is unreachable
}

// Cached is a document of the issuer that is fetched when it is first needed
// and refreshed shortly before it expires. It is safe for concurrent use;
// concurrent callers share one fetch.
type Cached[T any] struct {
	Now   func() time.Time
	Fetch func(ctx context.Context, before *Document[T]) (*Document[T], error) // before is the previous document, or nil; errors must wrap ErrUnavailable

	mu       sync.RWMutex
	current  *Document[T] // nil: none was fetched yet
	failed   time.Time
	failure  error         // of the last fetch; nil: it succeeded
	inflight chan struct{} // closed when the current fetch ends; nil: none is in progress
}

// Current returns a document that may be used. A document that expires soon is
// refreshed in the background, so that under steady load no caller waits.
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

// Refresh fetches the document, or waits for the fetch in progress.
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

// StartRefresh starts a fetch, or joins the one in progress. It returns a
// channel that is closed when the fetch ends, or nil if the last fetch has just
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

// Peek returns the current document, if any, and the error of the last fetch.
// It does not fetch.
func (c *Cached[T]) Peek() (*Document[T], error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current, c.failure
}
