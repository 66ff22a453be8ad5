package session

import (
	"slices"
	"time"
)

// Class is one authentication context class: its acr, and what it takes.
type Class struct {
	ACR string
	// Holds says whether the factors amount to the class at now. It sees only
	// those that may count towards it, and at least one.
	Holds func(now time.Time, factors []Factor) (bool, error)
}

// Classes are those of a tenant, from the weakest to the strongest.
type Classes []Class

// DefaultClasses are those of a tenant that lists none (CONFORMANCE C-22).
var DefaultClasses = defaultClasses()

func defaultClasses() (cs Classes) {
	for _, acr := range ACRValues {
		cs = append(cs, Class{acr, func(_ time.Time, factors []Factor) (bool, error) { return reachesDefault(factors, acr), nil }})
	}
	return cs
}

// Values lists the acr of every class, the weakest first.
func (cs Classes) Values() []string {
	values := make([]string, len(cs))
	for i, c := range cs {
		values[i] = c.ACR
	}
	return values
}

// Assurance is the acr of the strongest class that the factors amount to at
// now, empty when they amount to none; failed is as Proofs returns it.
func (cs Classes) Assurance(now time.Time, factors []Factor) (acr string, failed map[string]error) {
	proofs, failed := cs.Proofs(now, factors)
	return proofs.Best().ACR, failed
}

// Proofs are the classes that the factors amount to at now. A factor counts
// towards a class only if its issuer entry may vouch for that class, and
// reaches it by itself if the entry asserted it. A class whose rule fails is not
// reached; failed names those above the strongest class that is, and why.
func (cs Classes) Proofs(now time.Time, factors []Factor) (proofs Proofs, failed map[string]error) {
	for level, class := range slices.Backward(cs) {
		counted := cs.eligible(level, factors)
		reached, err := class.isReachedBy(now, counted)
		switch {
		case reached:
			proofs = append(proofs, class.proof(now, counted))
		case err != nil && len(proofs) == 0:
			if failed == nil {
				failed = map[string]error{}
			}
			failed[class.ACR] = err
		}
	}
	slices.Reverse(proofs)
	return proofs, failed
}

// counting are the factors whose entries may vouch for the class at this level.
func (cs Classes) eligible(level int, factors []Factor) []Factor {
	return slices.DeleteFunc(slices.Clone(factors), func(f Factor) bool { return f.MaxACR != "" && cs.level(f.MaxACR) < level })
}

// level is the place of acr in the order, -1 if it is not listed.
func (cs Classes) level(acr string) int {
	return slices.IndexFunc(cs, func(c Class) bool { return c.ACR == acr })
}

// Lists reports whether acr is one of the classes.
func (cs Classes) Lists(acr string) bool { return cs.level(acr) >= 0 }

// Lower is the lower one of two limits of what an entry may vouch for, where
// empty is no limit. A limit that is not listed vouches for nothing.
func (cs Classes) Lower(a, b string) string {
	if a == "" || b != "" && cs.level(b) < cs.level(a) {
		return b
	}
	return a
}

// amounts reports whether the factors, all of which count, amount to the class.
func (c Class) isReachedBy(now time.Time, factors []Factor) (bool, error) {
	if len(factors) == 0 {
		return false, nil
	}
	if slices.ContainsFunc(factors, func(f Factor) bool { return f.ACR == c.ACR }) {
		return true, nil
	}
	holds, err := c.Holds(now, factors)
	return holds && err == nil, err
}

// AtLeast reports whether acr is the wanted class or a stronger one. A class that is not listed is
// reached by itself alone.
func (cs Classes) AtLeast(acr, wanted string) bool {
	level := cs.level(wanted)
	return acr == wanted || level >= 0 && cs.level(acr) > level
}

// IsFullReauthentication reports whether a step-up was a full re-authentication, which starts both
// limits of a session again: the newly proved factors alone amount to the
// strongest class that the session reaches afterwards, which is not weaker than
// before and was proved later than before. A single added factor is none (NIST
// SP 800-63B-4 §5.2), not even beside one that has aged, nor is a proof that the
// session has had already.
func (cs Classes) IsFullReauthentication(now time.Time, before, after Proofs, proved []Factor) bool {
	was, is := before.Best(), after.Best()
	again, _ := cs.Assurance(now, proved)
	return is.ACR != "" && again == is.ACR && (was.ACR == "" || cs.AtLeast(is.ACR, was.ACR)) && is.At.After(before.Of(is.ACR).At)
}
