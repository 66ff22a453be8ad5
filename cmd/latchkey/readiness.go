package main

import (
	"context"
	"sync"
	"time"
)

const (
	// readyCacheTime is how long /readyz caches a success: anybody may request it,
	// and a check costs a query and a pass over every tenant.
	readyCacheTime = time.Second
	// notReadyCacheTime is the same for a failure. It is short, so that load balancers
	// use the node as soon as it is ready.
	notReadyCacheTime = 100 * time.Millisecond
	// readyTimeout bounds one check.
	readyTimeout = 2 * time.Second
	// recentCheck is how long the result of a check is of interest to others.
	recentCheck = 15 * time.Second
)

// readiness caches the result of a readiness check.
type readiness struct {
	check func(context.Context) error

	mu    sync.Mutex
	until time.Time
	at    time.Time
	err   error
}

// result returns the cached result, and repeats the check if it has expired.
// Concurrent callers share one check.
func (r *readiness) result(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return r.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	r.err = r.check(ctx)
	r.at = time.Now()
	r.until = r.at.Add(readyCacheTime)
	if r.err != nil {
		r.until = time.Now().Add(notReadyCacheTime)
	}
	return r.err
}

// recent returns the result of the last check, or nil if there was none recently. It does
// not check anything itself.
func (r *readiness) recent() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() || time.Since(r.at) > recentCheck {
		return nil
	}
	return r.err
}
