package session

import "time"

// EndReason is why a session has ended.
type EndReason string

// The reasons a session ends.
const (
	SignedOut        EndReason = "signed_out"         // by the user, in this session
	RevokedByUser    EndReason = "revoked_by_user"    // by the user, in another session
	RevokedByBackend EndReason = "revoked_by_backend" // by the app's back end
	RevokedByAdmin   EndReason = "revoked_by_admin"   // by an administrator
	ReuseDetected    EndReason = "reuse_detected"     // a used refresh token was presented again
	Inconsistent     EndReason = "inconsistent"       // the row is older than its token: the database was restored from a backup
	Restored         EndReason = "restored"           // the database was restored from a backup, and may have lost the session's end
	Idle             EndReason = "idle"               // the session was not used for the client's inactivity timeout
	Absolute         EndReason = "absolute"           // the absolute end was reached
	Evicted          EndReason = "evicted"            // a newer session took its place under the user's limit
	UserDisabled     EndReason = "user_disabled"      // its user was disabled
	ClientDisabled   EndReason = "client_disabled"    // its client was disabled or removed
	IssuerDisabled   EndReason = "issuer_disabled"    // the issuer that vouched for it was disabled or removed
	TenantDisabled   EndReason = "tenant_disabled"    // its tenant was disabled
)

// EndReasons lists all end reasons.
var EndReasons = []EndReason{
	SignedOut, RevokedByUser, RevokedByBackend, RevokedByAdmin, ReuseDetected, Inconsistent, Restored, Idle, Absolute, Evicted,
	UserDisabled, ClientDisabled, IssuerDisabled, TenantDisabled,
}

// Revoked is what earlier releases stored instead of RevokedByBackend.
const Revoked EndReason = "revoked"

// Final returns the current name of the reason. Rows of earlier releases may
// have an older one.
func (r EndReason) Final() EndReason {
	if r == Revoked {
		return RevokedByBackend
	}
	return r
}

// Lifetime contains what determines whether a session has ended.
type Lifetime struct {
	CreatedAt      time.Time
	AbsoluteExpiry time.Time
	IdleExpiry     time.Time // zero: no idle limit
	EndedAt        time.Time // zero: the session was not ended explicitly
	EndReason      EndReason
}

// Ended reports whether the session has ended by now, when and why. A limit
// that falls exactly on now has been reached.
func (l Lifetime) Ended(now time.Time) (at time.Time, why EndReason, ended bool) {
	switch expiry := l.Expiry(); {
	case !l.EndedAt.IsZero():
		return l.EndedAt, l.EndReason, true
	case now.Before(expiry):
		return time.Time{}, "", false
	case expiry.Equal(l.AbsoluteExpiry):
		return expiry, Absolute, true
	default:
		return expiry, Idle, true
	}
}

// Expiry returns when the session ends if it is not used again.
func (l Lifetime) Expiry() time.Time {
	if !l.IdleExpiry.IsZero() && l.IdleExpiry.Before(l.AbsoluteExpiry) {
		return l.IdleExpiry
	}
	return l.AbsoluteExpiry
}

// Extended returns the absolute end of a session that is extended by a duration
// from now, but to at most `most` from its creation. It returns false if the
// session has already reached that limit.
func (l Lifetime) Extended(now time.Time, by, most time.Duration) (end time.Time, ok bool) {
	end = now.Add(by)
	if last := l.CreatedAt.Add(most); last.Before(end) {
		end = last
	}
	return end, end.After(now)
}
