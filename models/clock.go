package models

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// storeClock is the node's clock moved by its measured offset to the
// database's, so that nodes whose clocks differ agree about sessions.
type storeClock struct {
	now    func() time.Time
	offset atomic.Int64 // nanoseconds
}

// Now is store time: the node's clock as the database would tell it.
func (s *Store) Now() time.Time {
	return s.clock.now().Add(s.ClockOffset()).UTC()
}

// ClockOffset is how far the database's clock is ahead of this node's.
func (s *Store) ClockOffset() time.Duration { return time.Duration(s.clock.offset.Load()) }

// measure reads the database's clock through ask and takes the middle of the
// round trip for the moment of the answer.
func (c *storeClock) measure(ask func() (unixMicro int64, err error)) error {
	before := c.now()
	answer, err := ask()
	if err != nil {
		return err
	}
	trip := c.now().Sub(before)
	c.offset.Store(int64(time.UnixMicro(answer).Sub(before.Add(trip / 2))))
	return nil
}

// contact remembers since when the database has answered without a break.
type contact struct {
	mu    sync.Mutex
	lost  bool
	since time.Time
}

// ContactSince is when this node's contact with the database last began.
func (s *Store) ContactSince() time.Time {
	s.contact.mu.Lock()
	defer s.contact.mu.Unlock()
	return s.contact.since
}

// hang is how long an operation must have gone on for its end by the caller to
// say something about the database: the caller got tired of waiting.
const hang = time.Second

// observe notes what the outcome of an operation that was begun then says about
// the contact. A caller that went away at once says nothing.
func (s *Store) observe(ctx context.Context, begun time.Time, err error) error {
	gone := errors.Is(ctx.Err(), context.Canceled)
	hung := gone && err != nil && s.clock.now().Sub(begun) >= hang
	if gone && !hung {
		return err
	}
	s.contact.mu.Lock()
	defer s.contact.mu.Unlock()
	switch {
	case hung, errors.Is(err, ErrUnavailable):
		s.contact.lost = true
	case s.contact.lost || s.contact.since.IsZero():
		s.contact.lost, s.contact.since = false, s.Now()
	}
	return err
}
