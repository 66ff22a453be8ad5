package session

import (
	"slices"
	"time"
)

// Demand is what a request wants of the proof behind a session (RFC 9470 §5).
// The zero value demands nothing.
type Demand struct {
	ACR    []string      // any of these, or a stronger class of the tenant
	MaxAge time.Duration // since the newest factor
	Fresh  bool          // MaxAge counts, also when it is zero
}

// Met says whether acr, of these classes, and authTime meet the demand at now.
func (d Demand) Met(classes Classes, now time.Time, acr string, authTime time.Time) bool {
	if d.Fresh && age(now, authTime) > d.MaxAge {
		return false
	}
	return len(d.ACR) == 0 || slices.ContainsFunc(d.ACR, func(wanted string) bool { return classes.Reach(acr, wanted) })
}
