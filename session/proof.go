package session

import (
	"slices"
	"time"
)

// Proof is a class that a session reaches, and when it was last proved in full:
// the newest moment such that the factors proved since then amount to the class
// by themselves. A newer factor that the class does not need, or that does not
// suffice without an older one, does not move it.
type Proof struct {
	ACR   string    `json:"acr"`
	At    time.Time `json:"at"`
	Dated time.Time `json:"dated,omitzero"` // the same, counting only factors whose issuer stated auth_time; zero: never
}

// proof is that of a class which the factors amount to.
func (c Class) proof(now time.Time, factors []Factor) Proof {
	p := Proof{ACR: c.ACR, At: c.lastProved(now, factors)}
	dated := slices.DeleteFunc(slices.Clone(factors), func(f Factor) bool { return !f.Dated })
	if reached, _ := c.isReachedBy(now, dated); reached {
		p.Dated = c.lastProved(now, dated)
	}
	return p
}

// lastProved tries every moment at which a factor was proved, the newest first.
// A rule that fails without the older factors does not hold there.
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

// Best is the strongest class; the zero Proof if none is reached.
func (ps Proofs) Best() Proof {
	if len(ps) == 0 {
		return Proof{}
	}
	return ps[len(ps)-1]
}

// Of is the proof of one class; the zero Proof if it is not reached.
func (ps Proofs) Of(acr string) Proof {
	for _, p := range ps {
		if p.ACR == acr {
			return p
		}
	}
	return Proof{}
}

// Within is what remains of ps when only `most` can still be proved: the classes
// that are in both, each with the earlier times.
func (ps Proofs) LimitedTo(most Proofs) (rest Proofs) {
	for _, p := range ps {
		if bound := most.Of(p.ACR); bound.ACR != "" {
			rest = append(rest, Proof{p.ACR, earlier(p.At, bound.At), earlier(p.Dated, bound.Dated)})
		}
	}
	return rest
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Decision is what a tenant's own rules made of a session's factors, and when
// they were asked: a rule may be about age, so that its answer is kept.
type Decision struct {
	At     time.Time `json:"at"`
	Proofs Proofs    `json:"proofs"`
}
