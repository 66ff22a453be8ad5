package session

import (
	"slices"
	"time"
)

// Class is an authentication context class: its acr and the rule that factors
// must satisfy.
type Class struct {
	ACR string
	// Holds reports whether the factors satisfy the rule at now. It gets only
	// those factors that may count towards the class, and at least one.
	Holds func(now time.Time, factors []Factor) (bool, error)
}

// Classes are the classes of a tenant, from the weakest to the strongest.
type Classes []Class

// DefaultClasses are the classes of a tenant that lists none.
var DefaultClasses = defaultClasses()

// defaultClasses returns a class for each of ACRValues.
func defaultClasses() (cs Classes) {
	for _, acr := range ACRValues {
		cs = append(cs, Class{acr, func(_ time.Time, factors []Factor) (bool, error) { return reachesDefault(factors, acr), nil }})
	}
	return cs
}

// Values returns the acr of every class, the weakest first.
func (cs Classes) Values() []string {
	values := make([]string, len(cs))
	for i, c := range cs {
		values[i] = c.ACR
	}
	return values
}

// Assurance returns the acr of the strongest class that the factors reach at
// now. It is empty if they reach none. failed is that of Proofs.
func (cs Classes) Assurance(now time.Time, factors []Factor) (acr string, failed map[string]error) {
	proofs, failed := cs.Proofs(now, factors)
	return proofs.Best().ACR, failed
}

// Proofs returns the classes that the factors reach at now. A factor counts
// towards a class only if its issuer entry may vouch for that class, and it
// reaches the class by itself if the entry asserted it. A class whose rule
// fails is not reached; failed has the error of each class above the strongest
// one that is reached.
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

// eligible returns the factors whose entries may vouch for the class at this
// level.
func (cs Classes) eligible(level int, factors []Factor) []Factor {
	return slices.DeleteFunc(slices.Clone(factors), func(f Factor) bool { return f.MaxACR != "" && cs.level(f.MaxACR) < level })
}

// level returns the index of acr in the order of the classes, or -1 if it is
// not listed.
func (cs Classes) level(acr string) int {
	return slices.IndexFunc(cs, func(c Class) bool { return c.ACR == acr })
}

// Lists reports whether acr is one of the classes.
func (cs Classes) Lists(acr string) bool { return cs.level(acr) >= 0 }

// Lower returns the lower of two limits on the classes that an entry may vouch
// for. An empty limit means that there is none. A limit that is not listed
// means that the entry may vouch for no class.
func (cs Classes) Lower(a, b string) string {
	if a == "" || b != "" && cs.level(b) < cs.level(a) {
		return b
	}
	return a
}

// isReachedBy reports whether the factors, all of which count, reach the class.
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

// AtLeast reports whether acr is the wanted class or a stronger one. A class
// that is not listed is reached only by itself.
func (cs Classes) AtLeast(acr, wanted string) bool {
	level := cs.level(wanted)
	return acr == wanted || level >= 0 && cs.level(acr) > level
}

// IsFullReauthentication reports whether a step-up was a full
// re-authentication, which restarts both limits of a session. The newly proved
// factors alone must reach the strongest class that the session reaches
// afterwards, and this class must not be weaker than before and must have been
// proved later than before. A single added factor is not enough (NIST SP
// 800-63B-4 §5.2), even if it complements an older one, and neither is a proof
// that the session already had.
func (cs Classes) IsFullReauthentication(now time.Time, before, after Proofs, proved []Factor) bool {
	was, is := before.Best(), after.Best()
	again, _ := cs.Assurance(now, proved)
	return is.ACR != "" && again == is.ACR && (was.ACR == "" || cs.AtLeast(is.ACR, was.ACR)) && is.At.After(before.Of(is.ACR).At)
}
