package models

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// outage is the number of consecutive failures that make an outage. A single
// failure may have another cause, such as a connection that an administrator
// terminated.
const outage = 3

// accessKind distinguishes reads from writes. A primary that has lost its
// synchronous standby answers reads and blocks writes.
type accessKind int

const (
	reading accessKind = iota
	writing
)

// contact records since when the database has been reachable without
// interruption.
type contact struct {
	mu       sync.Mutex
	lost     bool
	since    time.Time
	answered [2]time.Time // by accessKind: when an operation last succeeded
	failures [2]int       // by accessKind: failures since then
}

// ContactSince returns when this node's current contact with the database
// began.
func (s *Store) ContactSince() time.Time {
	s.contact.mu.Lock()
	defer s.contact.mu.Unlock()
	return s.contact.since
}

// observe records what the outcome of an operation that began at `begun` shows
// about the database, and returns err.
//
// Lost contact reopens retry windows, so nobody may be able to simulate it. An
// operation whose caller gave up shows nothing, however long it took. After any
// other failure the node probes the database itself, on a connection that no
// request uses. If the probe succeeds, only several consecutive failures are an
// outage, and a failure does not count if another operation succeeded while it
// ran: an operation that waited behind many others is not an outage.
func (s *Store) observe(ctx context.Context, kind accessKind, begun time.Time, err error) error {
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
	case errors.Is(err, ErrUnavailable):
		s.contact.recordFailure(s.log, kind, begun, err)
		if !s.contact.isLost() {
			s.probe.afterFailure(context.WithoutCancel(ctx), s)
		}
	default:
		s.contact.recordSuccess(s.log, kind, s.clock.now(), s.Now())
	}
	return err
}

func (c *contact) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

func (c *contact) recordFailure(log *slog.Logger, kind accessKind, begun time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered[kind].After(begun) {
		return
	}
	if c.failures[kind]++; c.failures[kind] >= outage {
		c.setLost(log, err)
	}
}

// recordFailedProbe records that a probe by the node itself failed.
func (c *contact) recordFailedProbe(log *slog.Logger, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setLost(log, err)
}

func (c *contact) setLost(log *slog.Logger, err error) {
	if !c.lost && !c.since.IsZero() {
		log.Warn("contact with the database is lost", "error", err)
	}
	c.lost = true
}

// recordSuccess ends an outage, unless writes keep failing while reads succeed.
// A write that succeeds shows that reads do as well.
func (c *contact) recordSuccess(log *slog.Logger, kind accessKind, now, storeTime time.Time) {
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
		log.Warn("the database responds again: retry windows of refresh tokens count from now")
	}
}
