package session

import "time"

// MaxRetryWindow bounds how long after a rotation an outage of ours may still
// extend the retry window.
const MaxRetryWindow = 15 * time.Minute

// RefreshFacts are what is known about a refresh token with a good tag that
// did not rotate its session. Whether digests are equal has been found out by
// the caller; the decision needs no secret.
type RefreshFacts struct {
	Session    Lifetime
	Generation uint32    // of the session's row
	RotatedAt  time.Time // when the row reached that generation; zero if it never rotated
	Presented  uint32    // generation of the presented token

	SameClient         bool // the row's client is the one that authenticated
	Permitted          bool // tenant, client, issuer and user are enabled and the session postdates their marks
	IsCurrent          bool // the row's digest is the presented token's
	IsNext             bool // the row's next digest is the presented token's
	SuccessorIsCurrent bool // the row's digest is that of the presented token's successor

	Grace        time.Duration // the client's retry window
	ContactSince time.Time     // when this node's contact with the database last began

	ByStepUp   bool // a step-up made the row's generation
	Superseded bool // a step-up replaced the presented token without having seen it

	LateRetry   bool      // the client allows late retries
	LastLate    LateRetry // what the row remembers of the last one
	OtherDevice bool      // the request comes from another device than the session's last use (OtherDevice)
}

// RefreshOutcome is what to do about a presented refresh token.
type RefreshOutcome int

// The outcomes of DecideRefresh.
const (
	// RefreshRefused: unknown, ended, expired or not permitted. Nothing changes.
	RefreshRefused RefreshOutcome = iota
	// RefreshForeign: another client's token. The owner's session lives on.
	RefreshForeign
	// RefreshRotate: the token is the current one after all; the row changed in between.
	RefreshRotate
	// RefreshRetry: a repeated request gets the same successor, and nothing is written.
	RefreshRetry
	// RefreshRetryLate: the same after the window, and the row remembers it.
	RefreshRetryLate
	// RefreshBeforeStepUp: a step-up spent the token moments ago. It gets an access
	// token with the assurance from before, and no refresh token.
	RefreshBeforeStepUp
	// RefreshSuperseded: a step-up that did not show the token replaced it. It is
	// refused, and nothing ends.
	RefreshSuperseded
	// RefreshDuplicate: a delayed duplicate, refused with an event; nothing ends.
	RefreshDuplicate
	// RefreshReuse: the token was used up; the session ends.
	RefreshReuse
	// RefreshRecover: the database lost its last commit; rotate from the presented token.
	RefreshRecover
	// RefreshBehind: the database is older than the token by more than one rotation; the session ends.
	RefreshBehind
	// RefreshMismatch: the token's secret is not the one of its generation; refused with an event.
	RefreshMismatch
)

// DecideRefresh decides what a presented refresh token may do. It is called
// after the conditional rotation has matched no row.
func DecideRefresh(now time.Time, f RefreshFacts) RefreshOutcome {
	if !f.SameClient {
		return RefreshForeign
	}
	if _, _, ended := f.Session.Ended(now); ended || !f.Permitted {
		return RefreshRefused
	}
	switch ahead := int64(f.Generation) - int64(f.Presented); {
	case ahead == 0 && f.IsCurrent:
		return RefreshRotate
	case ahead == 0:
		return RefreshMismatch
	case ahead >= 1 && f.Superseded:
		return RefreshSuperseded
	case ahead == 1 && !f.SuccessorIsCurrent:
		return RefreshMismatch
	case ahead == 1 && f.ByStepUp && InRetryWindow(now, f):
		return RefreshBeforeStepUp
	case ahead == 1 && InRetryWindow(now, f):
		return RefreshRetry
	case ahead == 1 && mayRetryLate(now, f):
		return RefreshRetryLate
	case ahead == 2 && age(now, f.RotatedAt) < f.Grace:
		return RefreshDuplicate
	case ahead >= 1:
		return RefreshReuse
	case ahead == -1 && f.IsNext:
		return RefreshRecover
	case ahead == -1:
		return RefreshMismatch
	default:
		return RefreshBehind
	}
}

// InRetryWindow reports whether the retry window of the last rotation is open.
func InRetryWindow(now time.Time, f RefreshFacts) bool {
	return within(now, f.RotatedAt, f.Grace, f.ContactSince)
}

// within reports whether less than `window` has passed since a moment or, if
// that is later, since this node could reach the database again: an outage of
// ours must not look like theft.
func within(now, since time.Time, window time.Duration, contact time.Time) bool {
	if window <= 0 || age(now, since) >= MaxRetryWindow {
		return false
	}
	if contact.After(since) {
		since = contact
	}
	return age(now, since) < window
}

// age is how long ago t was; clocks that disagree give no negative ages.
func age(now, t time.Time) time.Duration { return max(0, now.Sub(t)) }

// Answers reports whether the outcome gives the token's holder tokens.
func (o RefreshOutcome) IssuesTokens() bool {
	return o == RefreshRotate || o == RefreshRetry || o == RefreshRetryLate || o == RefreshRecover
}

// String names the outcome for the log.
func (o RefreshOutcome) String() string {
	return [...]string{"refused", "foreign", "rotate", "retry", "late retry", "before step-up", "superseded", "duplicate", "reuse", "recover", "behind", "mismatch"}[o]
}
