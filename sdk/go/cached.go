package latchkey

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// fetchPause is how long a fetch that failed is not tried again.
const fetchPause = 2 * time.Second

// held is a document with the moments that bound its use.
type held[T any] struct {
	value T
	asked time.Time // when it was asked for: it may be as old as this
	fresh time.Time // until then it is used without asking again
	last  time.Time // until then it serves while the issuer does not answer
}

// cached is a document of the issuer that is fetched when it is needed, and a
// little before it grows old. It is safe for concurrent use; callers who need it
// at the same moment share a fetch.
type cached[T any] struct {
	now   func() time.Time
	fetch func(ctx context.Context, before *held[T]) (*held[T], error) // errors are ErrUnavailable

	mu       sync.RWMutex
	have     *held[T] // nil: there was none yet
	failed   time.Time
	failure  error         // of the last fetch; nil: it went well
	inflight chan struct{} // closed when the fetch under way ends; nil: there is none
}

// current is a document that may be used. One that is about to grow old is
// fetched in the background, so that only an idle caller ever waits.
func (c *cached[T]) current(ctx context.Context, now time.Time) (*held[T], error) {
	c.mu.RLock()
	h, failing := c.have, c.failure != nil
	c.mu.RUnlock()
	if h == nil {
		return c.renewed(ctx, now)
	}
	early := h.fresh.Add(-h.fresh.Sub(h.asked) / 4)
	switch {
	case now.Before(early) && !now.Before(h.asked):
		return h, nil
	case now.Before(h.fresh) || failing && now.Before(h.last):
		c.renew(ctx, now)
		return h, nil
	}
	renewed, err := c.renewed(ctx, now)
	if err != nil && now.Before(h.last) {
		return h, nil
	}
	return renewed, err
}

// renewed waits for a fetch.
func (c *cached[T]) renewed(ctx context.Context, now time.Time) (*held[T], error) {
	if done := c.renew(ctx, now); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.failure != nil {
		return nil, c.failure
	}
	return c.have, nil
}

// renew begins a fetch, or joins the one under way. nil: the last one has just
// failed.
func (c *cached[T]) renew(ctx context.Context, now time.Time) <-chan struct{} {
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
		h, err := c.fetch(context.WithoutCancel(ctx), before)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.failure = err; err != nil {
			c.failed = c.now()
		} else {
			c.have = h
		}
		c.inflight = nil
		close(done)
	}()
	return done
}

// state tells what is held, and why the last fetch failed.
func (c *cached[T]) state() (*held[T], error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.have, c.failure
}
