package session

import "time"

const (
	// LateRetrySpacing is how many generations must lie between two late
	// retries: of any nine consecutive refreshes, one may lose its response.
	LateRetrySpacing = 8
	// LateRetryRepeat is how long after a late retry the same one may be
	// repeated without a limit.
	LateRetryRepeat = time.Minute
	// MaxLateRepeats bounds how often a late retry may be repeated after that.
	MaxLateRepeats = 3
)

// LateRetry is what the row of a session records of its last late retry: a used
// refresh token that was answered after the retry window because its successor
// had never been used. The zero value means that there was none.
type LateRetry struct {
	Generation uint32    // of the successor that was returned; at least 1
	At         time.Time // when it was first returned
	Repeats    int       // how often it was returned again more than LateRetryRepeat later
}

// Next returns what the row records after another late retry whose successor
// has the given generation. It returns l if nothing needs to be recorded.
func (l LateRetry) Next(now time.Time, generation uint32, contact time.Time) LateRetry {
	switch {
	case l.Generation != generation:
		return LateRetry{Generation: generation, At: now}
	case within(now, l.At, LateRetryRepeat, contact):
		return l
	default:
		l.Repeats++
		return l
	}
}

// mayRetryLate reports whether the token before the current one may still be
// answered after its retry window. The caller has established that the current
// token is its successor and that it has therefore not been used. A step-up can
// be repeated only with its client token, not with the refresh token alone.
func mayRetryLate(now time.Time, f RefreshFacts) bool {
	if !f.LateRetry || f.OtherDevice || f.ByStepUp {
		return false
	}
	if last := f.LastLate.Generation; last != f.Generation {
		return last == 0 || int64(f.Generation)-int64(last) > LateRetrySpacing
	}
	return f.LastLate.Next(now, f.Generation, f.ContactSince).Repeats <= MaxLateRepeats
}
