package main

import (
	"context"
	"sync"
	"time"
)

const (
	// verdictLife is how long /readyz keeps what it found out: anybody may ask, and
	// looking costs a query and a look at every tenant.
	verdictLife = time.Second
	// refusalLife is the same for a node that is not ready, so that it is used as
	// soon as it is.
	refusalLife = 100 * time.Millisecond
	// verdictPatience bounds one look.
	verdictPatience = 2 * time.Second
)

// readiness keeps the verdict of a look for a moment.
type readiness struct {
	look func(context.Context) error

	mu      sync.Mutex
	until   time.Time
	verdict error
}

// ask returns the verdict, and looks only if the last one is too old. Those who
// ask meanwhile wait for the same look.
func (r *readiness) ask(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return r.verdict
	}
	ctx, cancel := context.WithTimeout(context.Background(), verdictPatience)
	defer cancel()
	r.verdict = r.look(ctx)
	r.until = time.Now().Add(verdictLife)
	if r.verdict != nil {
		r.until = time.Now().Add(refusalLife)
	}
	return r.verdict
}
