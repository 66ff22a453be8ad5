package session

import "time"

const (
	// LateRetrySpacing is how many generations must lie between two late
	// retries: of any nine refreshes in a row one may lose its answer.
	LateRetrySpacing = 8
	// LateRetryRepeat is for how long after a late retry the same one may be
	// repeated freely.
	LateRetryRepeat = time.Minute
	// MaxLateRepeats bounds how often it may be repeated after that.
	MaxLateRepeats = 3
)

// LateRetry is what a session's row remembers of its last late retry: a used
// refresh token that was answered after the retry window because its successor
// had never been used. The zero value: there was none.
type LateRetry struct {
	Generation uint32    // of the successor that was answered; at least 1
	At         time.Time // when it was first answered
	Repeats    int       // how often it was answered again more than LateRetryRepeat later
}

// Next returns what the row remembers after one more late retry whose successor
// has the given generation. It equals l where nothing has to be remembered.
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
// answered although its retry window is over. The caller has established that
// the current token is its successor and so has not been used. A step-up is
// repeated by its client token, never by the refresh token alone.
func mayRetryLate(now time.Time, f RefreshFacts) bool {
	if !f.LateRetry || f.OtherDevice || f.ByStepUp {
		return false
	}
	if last := f.LastLate.Generation; last != f.Generation {
		return last == 0 || int64(f.Generation)-int64(last) > LateRetrySpacing
	}
	return f.LastLate.Next(now, f.Generation, f.ContactSince).Repeats <= MaxLateRepeats
}
