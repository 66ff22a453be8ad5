package session

import "time"

// EndReason says why a session is over.
type EndReason string

// The reasons a session ends.
const (
	SignedOut        EndReason = "signed_out"         // by the user, in this session
	RevokedByUser    EndReason = "revoked_by_user"    // by the user, in another session
	RevokedByBackend EndReason = "revoked_by_backend" // by the app's back end
	RevokedByAdmin   EndReason = "revoked_by_admin"   // by an administrator
	ReuseDetected    EndReason = "reuse_detected"     // a used refresh token was shown again
	Inconsistent     EndReason = "inconsistent"       // the row is older than its token: restored from a backup
	Restored         EndReason = "restored"           // the database was restored from a backup, and may have forgotten an end
	Idle             EndReason = "idle"               // no activity for the client's inactivity timeout
	Absolute         EndReason = "absolute"           // the absolute end was reached
	Evicted          EndReason = "evicted"            // a newer session took its place under the cap
	UserDisabled     EndReason = "user_disabled"      // its user was disabled
	ClientDisabled   EndReason = "client_disabled"    // its client was disabled or removed
	IssuerDisabled   EndReason = "issuer_disabled"    // the issuer that vouched for it was disabled or removed
	TenantDisabled   EndReason = "tenant_disabled"    // its tenant was disabled
)

// EndReasons lists them.
var EndReasons = []EndReason{
	SignedOut, RevokedByUser, RevokedByBackend, RevokedByAdmin, ReuseDetected, Inconsistent, Restored, Idle, Absolute, Evicted,
	UserDisabled, ClientDisabled, IssuerDisabled, TenantDisabled,
}

// Revoked is what earlier releases stored instead of RevokedByBackend.
const Revoked EndReason = "revoked"

// Final is the reason by its final name: rows of earlier releases may have an
// older one.
func (r EndReason) Final() EndReason {
	if r == Revoked {
		return RevokedByBackend
	}
	return r
}

// Lifetime is what decides whether a session is over.
type Lifetime struct {
	CreatedAt      time.Time
	AbsoluteExpiry time.Time
	IdleExpiry     time.Time // zero: no idle limit
	EndedAt        time.Time // zero: not ended on purpose
	EndReason      EndReason
}

// Ended says whether the session is over at now, since when and why. A limit
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

// Expiry is the moment the session ends if it is not used again.
func (l Lifetime) Expiry() time.Time {
	if !l.IdleExpiry.IsZero() && l.IdleExpiry.Before(l.AbsoluteExpiry) {
		return l.IdleExpiry
	}
	return l.AbsoluteExpiry
}

// Extended is the absolute end of a session that is to live for so long from
// now on, but no longer than `most` from its start; false if it has had that.
func (l Lifetime) Extended(now time.Time, by, most time.Duration) (end time.Time, ok bool) {
	end = now.Add(by)
	if last := l.CreatedAt.Add(most); last.Before(end) {
		end = last
	}
	return end, end.After(now)
}
