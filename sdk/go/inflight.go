package latchkey

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// inflight is a change of one session's tokens that is under way. There is one at
// a time for each session, however many handles of it there are.
type inflight struct {
	stepUp  bool
	target  string     // key of the target that it brings a token for
	handles []*Session // who gets the outcome; guarded by Client.mu
	done    chan struct{}
	result  update // set before done is closed
	err     error  // the same
}

// operation is what a flight does.
type operation func(context.Context, *Session) (update, error)

// joinOrStart takes part in the flight of a session, or starts one. It does not end
// with its caller: what the server has done by then would be lost. Nothing is
// done if the session has another access token for the target than `had` by now.
func (c *Client) joinOrStart(ctx context.Context, s *Session, target, had string, do operation) *inflight {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := s.tokenFor(target)
	if err := s.Err(); err != nil || t.AccessToken != "" && t.AccessToken != had {
		return completed(target, t, err)
	}
	if f := c.inflight[s.ID()]; f != nil {
		f.handles = append(f.handles, s)
		return f
	}
	return c.start(ctx, s, &inflight{target: target}, do)
}

// startExclusive starts a flight of its own, after those under way.
func (c *Client) startExclusive(ctx context.Context, s *Session, do operation) *inflight {
	for {
		c.mu.Lock()
		before := c.inflight[s.ID()]
		if before == nil {
			defer c.mu.Unlock()
			if err := s.Err(); err != nil {
				return completed("", Tokens{}, err)
			}
			return c.start(ctx, s, &inflight{stepUp: true}, do)
		}
		c.mu.Unlock()
		if before.wait(ctx); ctx.Err() != nil {
			return completed("", Tokens{}, wire.Unavailable(ctx.Err()))
		}
	}
}

// start begins a flight. The caller holds c.mu and knows that there is none.
func (c *Client) start(ctx context.Context, s *Session, f *inflight, do operation) *inflight {
	id := s.ID()
	f.handles, f.done = []*Session{s}, make(chan struct{})
	c.inflight[id] = f
	go func() {
		got, err := do(context.WithoutCancel(ctx), s)
		c.mu.Lock()
		defer c.mu.Unlock()
		f.complete(got, err)
		delete(c.inflight, id)
		close(f.done)
	}()
	return f
}

// completed is a flight that is over.
func completed(target string, t Tokens, err error) *inflight {
	f := &inflight{target: target, done: make(chan struct{}), result: update{tokens: t, targetTokens: t}, err: err}
	close(f.done)
	return f
}

// complete gives every handle the outcome before another flight can begin, so that
// no handle goes back to older tokens.
func (f *inflight) complete(got update, err error) {
	f.result, f.err = got, err
	for _, s := range f.handles {
		if got.tokens.SessionID != "" {
			s.replace(got.tokens)
		}
		if got.steppedUp {
			s.dropTargetTokens()
		}
		switch {
		case errors.Is(err, ErrSessionEnded):
			s.markEnded(err)
		case err == nil && f.target != "":
			s.keepTargetToken(f.target, got.targetTokens)
		}
	}
}

// covers says whether the outcome of a flight that has landed is that of a
// refresh for a target. A step-up brings the session's own token.
func (f *inflight) covers(target string) bool {
	return f.target == target && (!f.stepUp || f.err == nil)
}

// token is what a flight that has landed brings. Empty: nothing.
func (f *inflight) token() Tokens {
	switch {
	case f.err != nil:
		return Tokens{}
	case f.target == "":
		return f.result.tokens
	}
	return f.result.targetTokens
}

// wait is the outcome, or the end of the caller's patience.
func (f *inflight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return wire.Unavailable(ctx.Err())
	}
}
