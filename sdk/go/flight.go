package latchkey

import (
	"context"
	"errors"
)

// flight is a change of one session's tokens that is under way. There is one at
// a time for each session, however many handles of it there are.
type flight struct {
	stepUp  bool
	handles []*Session // who gets the outcome; guarded by Client.mu
	done    chan struct{}
	err     error // set before done is closed
}

// join takes part in the flight of a session, or starts one. It does not end
// with its caller: what the server has done by then would be lost. Nothing is
// done if the session has another access token than `had` by now.
func (c *Client) join(ctx context.Context, s *Session, had string, do func(context.Context, *Session) (Tokens, error)) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := s.Tokens()
	if err := s.Err(); err != nil || t.AccessToken != had {
		return landed(err)
	}
	if f := c.flights[t.SessionID]; f != nil {
		f.handles = append(f.handles, s)
		return f
	}
	return c.start(ctx, s, false, do)
}

// lead starts a flight of its own, after those under way.
func (c *Client) lead(ctx context.Context, s *Session, do func(context.Context, *Session) (Tokens, error)) *flight {
	for {
		c.mu.Lock()
		before := c.flights[s.ID()]
		if before == nil {
			defer c.mu.Unlock()
			if err := s.Err(); err != nil {
				return landed(err)
			}
			return c.start(ctx, s, true, do)
		}
		c.mu.Unlock()
		if before.wait(ctx); ctx.Err() != nil {
			return landed(outOfReach(ctx.Err()))
		}
	}
}

// start begins a flight. The caller holds c.mu and knows that there is none.
func (c *Client) start(ctx context.Context, s *Session, stepUp bool, do func(context.Context, *Session) (Tokens, error)) *flight {
	id := s.ID()
	f := &flight{stepUp: stepUp, handles: []*Session{s}, done: make(chan struct{})}
	c.flights[id] = f
	go func() {
		t, err := do(context.WithoutCancel(ctx), s)
		c.mu.Lock()
		defer c.mu.Unlock()
		f.land(t, err)
		delete(c.flights, id)
		close(f.done)
	}()
	return f
}

// landed is a flight that is over.
func landed(err error) *flight {
	f := &flight{done: make(chan struct{}), err: err}
	close(f.done)
	return f
}

// land gives every handle the outcome before another flight can begin, so that
// no handle goes back to older tokens.
func (f *flight) land(t Tokens, err error) {
	f.err = err
	for _, s := range f.handles {
		if t.SessionID != "" {
			s.replace(t)
		}
		if errors.Is(err, ErrSessionEnded) {
			s.end(err)
		}
	}
}

// wait is the outcome, or the end of the caller's patience.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return outOfReach(ctx.Err())
	}
}
