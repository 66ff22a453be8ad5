package resource

import (
	"fmt"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// errNoKeys is reported until the first fetch of the keys has ended.
var errNoKeys = fmt.Errorf("%w: the issuer's keys have not been fetched yet", latchkey.ErrUnavailable)

// Status describes the state of a verifier, for health endpoints and metrics.
type Status struct {
	// KeysFetchedAt is when the current keys were requested; zero: no keys were
	// fetched yet.
	KeysFetchedAt time.Time
	// RevocationsAsOf is the time until which all revocations are known, by the
	// verifier's clock; zero: none yet, or the feed is not used.
	RevocationsAsOf time.Time
	// Revocations is the number of feed entries in memory.
	Revocations int
	// Err is why tokens cannot be verified at the moment, or only by
	// introspection; nil: the verifier works. It wraps
	// [latchkey.ErrUnavailable].
	Err error
}

// Status returns the state of the verifier. It does not wait.
func (v *Verifier) Status() Status {
	now := v.options.Now()
	var s Status
	keys, err := v.keys.Set.Peek()
	if keys != nil {
		s.KeysFetchedAt = keys.RequestedAt
	}
	switch {
	case keys == nil && err == nil:
		s.Err = errNoKeys
	case keys == nil || !now.Before(keys.UsableUntil):
		s.Err = err
	}
	if f := v.feed; f != nil {
		if problem := f.checkCurrent(now); s.Err == nil {
			s.Err = problem
		}
		s.Revocations = f.revoked.size()
		f.mu.RLock()
		defer f.mu.RUnlock()
		s.RevocationsAsOf = f.asOf
	}
	return s
}
