package session

import "time"

// MaxRetryWindow bounds how long after a rotation an outage of the server may
// still extend the retry window.
const MaxRetryWindow = 15 * time.Minute

// RefreshFacts are the facts about a refresh token with a valid tag that did
// not rotate its session. The caller has compared the digests, so that the
// decision needs no secret.
type RefreshFacts struct {
	Session    Lifetime
	Generation uint32    // of the session's row
	RotatedAt  time.Time // when the row reached that generation; zero if it never rotated
	Presented  uint32    // generation of the presented token

	SameClient         bool // the row has the client that authenticated
	Permitted          bool // tenant, client, issuer and user are enabled, and none was disabled since the session began
	IsCurrent          bool // the row's digest is that of the presented token
	IsNext             bool // the row's next digest is that of the presented token
	SuccessorIsCurrent bool // the row's digest is that of the presented token's successor

	Grace        time.Duration // the client's retry window
	ContactSince time.Time     // since when this node has been in contact with the database

	ByStepUp   bool // a step-up made the row's generation
	Superseded bool // a step-up that did not present the token has replaced it

	LateRetry   bool      // the client allows late retries
	LastLate    LateRetry // what the row records of the last one
	OtherDevice bool      // OtherDevice of the request and the session's last use
}

// RefreshOutcome is how to respond to a presented refresh token.
type RefreshOutcome int

// The outcomes of DecideRefresh.
const (
	// RefreshRefused means that the token is unknown, ended, expired or not
	// permitted. Nothing changes.
	RefreshRefused RefreshOutcome = iota
	// RefreshForeign means that the token belongs to another client. Its
	// session continues.
	RefreshForeign
	// RefreshRotate means that the token is the current one, because the row
	// has changed in the meantime.
	RefreshRotate
	// RefreshRetry means that the request is repeated. It gets the same
	// successor, and nothing is written.
	RefreshRetry
	// RefreshRetryLate means that the request is repeated after the retry
	// window. It gets the same successor, and the row records it.
	RefreshRetryLate
	// RefreshBeforeStepUp means that a step-up has just replaced the token. The
	// response has an access token with the assurance from before the step-up,
	// and no refresh token.
	RefreshBeforeStepUp
	// RefreshSuperseded means that a step-up that did not present the token has
	// replaced it. The token is rejected, and no session ends.
	RefreshSuperseded
	// RefreshDuplicate means that the request is a delayed duplicate. It is
	// rejected with an event, and no session ends.
	RefreshDuplicate
	// RefreshReuse means that the token has been used. The session ends.
	RefreshReuse
	// RefreshRecover means that the database has lost its last commit. The
	// chain rotates from the presented token.
	RefreshRecover
	// RefreshBehind means that the database is more than one rotation older
	// than the token. The session ends.
	RefreshBehind
	// RefreshMismatch means that the secret of the token does not match its
	// generation. The token is rejected with an event.
	RefreshMismatch
)

// DecideRefresh decides how to respond to a presented refresh token. It is
// called after the conditional rotation has matched no row.
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

// within reports whether less than window has passed since a time or, if that
// is later, since this node regained contact with the database: an outage of
// the server must not look like theft.
func within(now, since time.Time, window time.Duration, contact time.Time) bool {
	if window <= 0 || age(now, since) >= MaxRetryWindow {
		return false
	}
	if contact.After(since) {
		since = contact
	}
	return age(now, since) < window
}

// age returns how long ago t was. It is not negative, even if clocks disagree.
func age(now, t time.Time) time.Duration { return max(0, now.Sub(t)) }

// IssuesTokens reports whether the response with this outcome contains new
// tokens.
func (o RefreshOutcome) IssuesTokens() bool {
	return o == RefreshRotate || o == RefreshRetry || o == RefreshRetryLate || o == RefreshRecover
}

// String returns the name of the outcome, for the log.
func (o RefreshOutcome) String() string {
	return [...]string{"refused", "foreign", "rotate", "retry", "late retry", "before step-up", "superseded", "duplicate", "reuse", "recover", "behind", "mismatch"}[o]
}
