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
		cs = append(cs, Class{acr, func(_ time.Time, factors []Factor) (bool, error) { return supports(factors, acr), nil }})
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
// now, empty when they amount to none. A factor counts towards a class only if
// its issuer entry may vouch for that class, and reaches it by itself if the
// entry asserted it. A class that cannot be decided does not hold; failed says
// which those are, and why.
func (cs Classes) Assurance(now time.Time, factors []Factor) (acr string, failed map[string]error) {
	order := cs.Values()
	for level, class := range slices.Backward(cs) {
		var counted []Factor
		asserted := false
		for _, f := range factors {
			if f.MaxACR == "" || slices.Index(order, f.MaxACR) >= level {
				counted = append(counted, f)
				asserted = asserted || f.ACR == class.ACR
			}
		}
		if len(counted) == 0 {
			continue
		}
		holds, err := asserted, error(nil)
		if !asserted {
			holds, err = class.Holds(now, counted)
		}
		switch {
		case err != nil:
			if failed == nil {
				failed = map[string]error{}
			}
			failed[class.ACR] = err
		case holds:
			return class.ACR, failed
		}
	}
	return "", failed
}

// Reach says whether acr is wanted, or stronger. A class that is not listed is
// reached by itself alone.
func (cs Classes) Reach(acr, wanted string) bool {
	order := cs.Values()
	level := slices.Index(order, wanted)
	return acr == wanted || level >= 0 && slices.Index(order, acr) > level
}

// Anew says whether the newly proved factors alone amount to acr, which is what
// the session is worth with them, and not to less than it was worth before: a
// full re-authentication, which starts both of its limits again. A single added
// factor does not (NIST SP 800-63B-4 §5.2), not even beside one that has aged.
func (cs Classes) Anew(now time.Time, before, acr string, proved []Factor) bool {
	again, _ := cs.Assurance(now, proved)
	return acr != "" && again == acr && (before == "" || cs.Reach(acr, before))
}
