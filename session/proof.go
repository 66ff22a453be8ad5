package session

import (
	"slices"
	"time"
)

// Proof is a class that a session reaches, and when the class was last proved
// in full: the latest time such that the factors proved since then reach the
// class by themselves. A newer factor does not change the time if the class
// does not need it, or if it is not enough without an older one.
type Proof struct {
	ACR   string    `json:"acr"`
	At    time.Time `json:"at"`
	Dated time.Time `json:"dated,omitzero"` // the same, but only with factors whose issuer stated auth_time; zero: never
}

// proof returns the proof of a class that the factors reach.
func (c Class) proof(now time.Time, factors []Factor) Proof {
	p := Proof{ACR: c.ACR, At: c.lastProved(now, factors)}
	dated := slices.DeleteFunc(slices.Clone(factors), func(f Factor) bool { return !f.Dated })
	if reached, _ := c.isReachedBy(now, dated); reached {
		p.Dated = c.lastProved(now, dated)
	}
	return p
}

// lastProved tries the times of all factors, the newest first, and returns the
// first one from which on the factors reach the class. A rule that fails
// without the older factors does not hold.
func (c Class) lastProved(now time.Time, factors []Factor) time.Time {
	moments := make([]time.Time, len(factors))
	for i, f := range factors {
		moments[i] = f.AuthTime
	}
	slices.SortFunc(moments, func(a, b time.Time) int { return b.Compare(a) })
	moments = slices.CompactFunc(moments, time.Time.Equal)
	oldest := moments[len(moments)-1]
	for _, t := range moments[:len(moments)-1] {
		since := slices.DeleteFunc(slices.Clone(factors), func(f Factor) bool { return f.AuthTime.Before(t) })
		if reached, _ := c.isReachedBy(now, since); reached {
			return t
		}
	}
	return oldest
}

// Proofs are the classes that a session reaches, from the weakest to the
// strongest, each at most once.
type Proofs []Proof

// Best returns the strongest class, or the zero Proof if none is reached.
func (ps Proofs) Best() Proof {
	if len(ps) == 0 {
		return Proof{}
	}
	return ps[len(ps)-1]
}

// Of returns the proof of one class, or the zero Proof if it is not reached.
func (ps Proofs) Of(acr string) Proof {
	for _, p := range ps {
		if p.ACR == acr {
			return p
		}
	}
	return Proof{}
}

// LimitedTo returns what remains of ps if only `most` can still be proved: the
// classes that are in both, each with the earlier times.
func (ps Proofs) LimitedTo(most Proofs) (rest Proofs) {
	for _, p := range ps {
		if bound := most.Of(p.ACR); bound.ACR != "" {
			rest = append(rest, Proof{p.ACR, earlier(p.At, bound.At), earlier(p.Dated, bound.Dated)})
		}
	}
	return rest
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Decision is the result of a tenant's own rules for the factors of a session,
// and when it was determined. A rule may depend on the age of a factor, so its
// result is stored.
type Decision struct {
	At     time.Time `json:"at"`
	Proofs Proofs    `json:"proofs"`
}
