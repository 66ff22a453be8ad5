package resource

import (
	"fmt"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// errNoKeys is the state before the first fetch of the keys has ended.
var errNoKeys = fmt.Errorf("%w: the issuer's keys are not known yet", latchkey.ErrUnavailable)

// Status is how a verifier does, for health endpoints and metrics.
type Status struct {
	// KeysFetchedAt is when the keys were last asked for with success; zero: never.
	KeysFetchedAt time.Time
	// RevocationsAsOf is until when everything that was revoked is known, by the
	// verifier's clock; zero: never yet, or the feed is not followed.
	RevocationsAsOf time.Time
	// Revoked is the number of entries of the feed that are kept.
	Revocations int
	// Err is why tokens cannot be verified at the moment, or only by asking the
	// issuer; nil: all is well. It wraps [latchkey.ErrUnavailable].
	Err error
}

// Status tells how the verifier does. It waits for nothing.
func (v *Verifier) Status() Status {
	now := v.options.Now()
	var s Status
	keys, err := v.keys.set.Peek()
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
