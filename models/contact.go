package models

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// outage is how many failures in a row are an outage. A single one may have
// another reason: a connection that was ended by hand, say.
const outage = 3

// access tells reads from writes. A primary whose standby is gone answers the
// one and hangs on the other.
type access int

const (
	reading access = iota
	writing
)

// contact remembers since when the database has answered without a break.
type contact struct {
	mu       sync.Mutex
	lost     bool
	since    time.Time
	answered [2]time.Time // by access: when an operation was last answered
	failures [2]int       // by access: how many have failed since
}

// ContactSince is when this node's contact with the database last began.
func (s *Store) ContactSince() time.Time {
	s.contact.mu.Lock()
	defer s.contact.mu.Unlock()
	return s.contact.since
}

// observe notes what the outcome of an operation that began at `begun` says
// about the database, and returns err.
//
// Lost contact reopens retry windows, so nobody may be able to feign it. What
// became of an operation whose caller gave up says nothing, however long it
// took. After any other failure the node asks the database itself, on a
// connection that no request uses. If that is answered, only several failures
// in a row are an outage, and none counts that other operations were answered
// during: one that waited for its turn behind many others is no outage.
func (s *Store) observe(ctx context.Context, kind access, begun time.Time, err error) error {
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
	case errors.Is(err, ErrUnavailable):
		s.contact.fail(s.log, kind, begun, err)
		if !s.contact.isLost() {
			s.probe.afterFailure(context.WithoutCancel(ctx), s)
		}
	default:
		s.contact.answer(s.log, kind, s.clock.now(), s.Now())
	}
	return err
}

func (c *contact) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

func (c *contact) fail(log *slog.Logger, kind access, begun time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered[kind].After(begun) {
		return
	}
	if c.failures[kind]++; c.failures[kind] >= outage {
		c.lose(log, err)
	}
}

// unanswered is a question of the node's own that failed.
func (c *contact) unanswered(log *slog.Logger, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose(log, err)
}

func (c *contact) lose(log *slog.Logger, err error) {
	if !c.lost && !c.since.IsZero() {
		log.Warn("contact with the database is lost", "error", err)
	}
	c.lost = true
}

// answer ends an outage, unless writes go on failing while reads are answered.
// A write that succeeds shows that reads do as well.
func (c *contact) answer(log *slog.Logger, kind access, now, storeTime time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := reading; k <= kind; k++ {
		c.answered[k], c.failures[k] = now, 0
	}
	switch {
	case c.since.IsZero():
		c.lost, c.since = false, storeTime
	case c.lost && max(c.failures[reading], c.failures[writing]) < outage:
		c.lost, c.since = false, storeTime
		log.Warn("the database answers again: retry windows of refresh tokens count from now")
	}
}
