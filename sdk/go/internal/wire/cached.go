package wire

import (
	"context"
	"sync"
	"time"
)

// fetchPause is how long a fetch that failed is not tried again.
const fetchPause = 2 * time.Second

// Held is a document with the moments that bound its use.
type Held[T any] struct {
	Value T
	Asked time.Time // when it was asked for: it may be as old as this
	Fresh time.Time // until then it is used without asking again
	Last  time.Time // until then it serves while the issuer does not answer
}

// Cached is a document of the issuer that is fetched when it is needed, and a
// little before it grows old. It is safe for concurrent use; callers who need it
// at the same moment share a fetch.
type Cached[T any] struct {
	Now   func() time.Time
	Fetch func(ctx context.Context, before *Held[T]) (*Held[T], error) // errors are ErrUnavailable

	mu       sync.RWMutex
	have     *Held[T] // nil: there was none yet
	failed   time.Time
	failure  error         // of the last fetch; nil: it went well
	inflight chan struct{} // closed when the fetch under way ends; nil: there is none
}

// Current is a document that may be used. One that is about to grow old is
// fetched in the background, so that only an idle caller ever waits.
func (c *Cached[T]) Current(ctx context.Context, now time.Time) (*Held[T], error) {
	c.mu.RLock()
	h, failing := c.have, c.failure != nil
	c.mu.RUnlock()
	if h == nil {
		return c.Renewed(ctx, now)
	}
	early := h.Fresh.Add(-h.Fresh.Sub(h.Asked) / 4)
	switch {
	case now.Before(early) && !now.Before(h.Asked):
		return h, nil
	case now.Before(h.Fresh) || failing && now.Before(h.Last):
		c.Renew(ctx, now)
		return h, nil
	}
	renewed, err := c.Renewed(ctx, now)
	if err != nil && now.Before(h.Last) {
		return h, nil
	}
	return renewed, err
}

// Renewed waits for a fetch.
func (c *Cached[T]) Renewed(ctx context.Context, now time.Time) (*Held[T], error) {
	if done := c.Renew(ctx, now); done != nil {
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
	return c.have, nil
}

// Renew begins a fetch, or joins the one under way. nil: the last one has just
// failed.
func (c *Cached[T]) Renew(ctx context.Context, now time.Time) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inflight != nil {
		return c.inflight
	}
	if since := now.Sub(c.failed); c.failure != nil && since >= 0 && since < fetchPause {
		return nil
	}
	done, before := make(chan struct{}), c.have
	c.inflight = done
	go func() {
		h, err := c.Fetch(context.WithoutCancel(ctx), before)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.failure = err; err != nil {
			c.failed = c.Now()
		} else {
			c.have = h
		}
		c.inflight = nil
		close(done)
	}()
	return done
}

// State tells what is held, and why the last fetch failed.
func (c *Cached[T]) State() (*Held[T], error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.have, c.failure
}
