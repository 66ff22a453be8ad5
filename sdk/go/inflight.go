package latchkey

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// inflight is a request in progress that changes a session's tokens. There is
// at most one per session, however many Session values share it.
type inflight struct {
	stepUp  bool
	target  string     // key of the target that it requests a token for
	handles []*Session // receive the result; guarded by Client.mu
	done    chan struct{}
	result  update // set before done is closed
	err     error  // set before done is closed
}

// operation sends the request and returns its result.
type operation func(context.Context, *Session) (update, error)

// joinOrStart joins the session's request in progress, or starts one. The
// request outlives the caller's context: otherwise its response would be lost.
// If the session already has an access token for the target other than had,
// joinOrStart returns that and sends nothing.
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

// startExclusive waits for the session's request in progress, then starts its
// own.
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

// start starts a request. The caller holds c.mu and has checked that none is in
// progress.
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

// completed returns a request that has already ended.
func completed(target string, t Tokens, err error) *inflight {
	f := &inflight{target: target, done: make(chan struct{}), result: update{tokens: t, targetTokens: t}, err: err}
	close(f.done)
	return f
}

// complete passes the result to every Session value before the next request can
// start, so that none of them returns to older tokens.
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

// covers reports whether a completed request also serves as a refresh for a
// target. A step-up serves as a refresh of the session's own token.
func (f *inflight) covers(target string) bool {
	return f.target == target && (!f.stepUp || f.err == nil)
}

// token returns the access token that a completed request obtained, if any.
func (f *inflight) token() Tokens {
	switch {
	case f.err != nil:
		return Tokens{}
	case f.target == "":
		return f.result.tokens
	}
	return f.result.targetTokens
}

// wait waits for the request, or until the context ends.
func (f *inflight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return wire.Unavailable(ctx.Err())
	}
}
