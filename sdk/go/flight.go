package latchkey

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// flight is a change of one session's tokens that is under way. There is one at
// a time for each session, however many handles of it there are.
type flight struct {
	stepUp  bool
	target  string     // key of the target that it brings a token for
	handles []*Session // who gets the outcome; guarded by Client.mu
	done    chan struct{}
	got     issued // set before done is closed
	err     error  // the same
}

// change is what a flight does.
type change func(context.Context, *Session) (issued, error)

// join takes part in the flight of a session, or starts one. It does not end
// with its caller: what the server has done by then would be lost. Nothing is
// done if the session has another access token for the target than `had` by now.
func (c *Client) join(ctx context.Context, s *Session, target, had string, do change) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := s.tokenFor(target)
	if err := s.Err(); err != nil || t.AccessToken != "" && t.AccessToken != had {
		return landed(target, t, err)
	}
	if f := c.flights[s.ID()]; f != nil {
		f.handles = append(f.handles, s)
		return f
	}
	return c.start(ctx, s, &flight{target: target}, do)
}

// lead starts a flight of its own, after those under way.
func (c *Client) lead(ctx context.Context, s *Session, do change) *flight {
	for {
		c.mu.Lock()
		before := c.flights[s.ID()]
		if before == nil {
			defer c.mu.Unlock()
			if err := s.Err(); err != nil {
				return landed("", Tokens{}, err)
			}
			return c.start(ctx, s, &flight{stepUp: true}, do)
		}
		c.mu.Unlock()
		if before.wait(ctx); ctx.Err() != nil {
			return landed("", Tokens{}, wire.Unavailable(ctx.Err()))
		}
	}
}

// start begins a flight. The caller holds c.mu and knows that there is none.
func (c *Client) start(ctx context.Context, s *Session, f *flight, do change) *flight {
	id := s.ID()
	f.handles, f.done = []*Session{s}, make(chan struct{})
	c.flights[id] = f
	go func() {
		got, err := do(context.WithoutCancel(ctx), s)
		c.mu.Lock()
		defer c.mu.Unlock()
		f.land(got, err)
		delete(c.flights, id)
		close(f.done)
	}()
	return f
}

// landed is a flight that is over.
func landed(target string, t Tokens, err error) *flight {
	f := &flight{target: target, done: make(chan struct{}), got: issued{tokens: t, narrowed: t}, err: err}
	close(f.done)
	return f
}

// land gives every handle the outcome before another flight can begin, so that
// no handle goes back to older tokens.
func (f *flight) land(got issued, err error) {
	f.got, f.err = got, err
	for _, s := range f.handles {
		if got.tokens.SessionID != "" {
			s.replace(got.tokens)
		}
		if got.raised {
			s.forget()
		}
		switch {
		case errors.Is(err, ErrSessionEnded):
			s.end(err)
		case err == nil && f.target != "":
			s.keep(f.target, got.narrowed)
		}
	}
}

// brings says whether the outcome of a flight that has landed is that of a
// refresh for a target. A step-up brings the session's own token.
func (f *flight) brings(target string) bool {
	return f.target == target && (!f.stepUp || f.err == nil)
}

// token is what a flight that has landed brings. Empty: nothing.
func (f *flight) token() Tokens {
	switch {
	case f.err != nil:
		return Tokens{}
	case f.target == "":
		return f.got.tokens
	}
	return f.got.narrowed
}

// wait is the outcome, or the end of the caller's patience.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return wire.Unavailable(ctx.Err())
	}
}
