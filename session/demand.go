package session

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Demand is what a request demands of the authentication of a session (RFC 9470
// §5). The zero value demands nothing.
type Demand struct {
	ACR       []string      // one of these, or a stronger class of the tenant
	MaxAge    time.Duration // how long ago the factors of the class may have been proved
	HasMaxAge bool          // whether MaxAge applies, even if it is zero
}

// None reports whether d demands nothing.
func (d Demand) None() bool { return len(d.ACR) == 0 && !d.HasMaxAge }

// String returns the demand as a challenge would contain it, for the log.
func (d Demand) String() string {
	words := []string{}
	if len(d.ACR) > 0 {
		words = append(words, "acr_values="+strings.Join(d.ACR, " "))
	}
	if d.HasMaxAge {
		words = append(words, fmt.Sprintf("max_age=%d", d.MaxAge/time.Second))
	}
	return strings.Join(words, ", ")
}

// Choose returns the strongest proof that meets the demand at now, by the order
// of the classes, or false if there is none. Without a demand it returns the
// strongest proof, which is the zero Proof if no class is reached. A time that
// is only the iat of a client token does not meet MaxAge.
func (d Demand) Choose(classes Classes, now time.Time, proofs Proofs) (Proof, bool) {
	for _, p := range slices.Backward(proofs) {
		if d.acceptsClass(classes, p) && d.acceptsAge(now, p) {
			return p, true
		}
	}
	return Proof{}, d.None()
}

// acceptsClass reports whether the class of the proof meets the demand.
func (d Demand) acceptsClass(classes Classes, p Proof) bool {
	return len(d.ACR) == 0 || slices.ContainsFunc(d.ACR, func(wanted string) bool { return classes.AtLeast(p.ACR, wanted) })
}

// acceptsAge reports whether the age of the proof meets the demand.
func (d Demand) acceptsAge(now time.Time, p Proof) bool {
	return !d.HasMaxAge || !p.Dated.IsZero() && age(now, p.Dated) <= d.MaxAge
}
