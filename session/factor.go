package session

import "slices"

// AddFactors adds newly proved factors to those of a session. Of proofs of one method
// by one entry that say the same, the latest stays, so that the list stays short
// however often a session is stepped up, and so that an old proof, brought again by
// a new client token, takes nothing from a later one.
func AddFactors(factors, proved []Factor) []Factor {
	merged := slices.Clone(factors)
	for _, f := range proved {
		at := slices.IndexFunc(merged, f.replaces)
		switch {
		case at < 0:
			merged = append(merged, f)
		case !f.AuthTime.Before(merged[at].AuthTime):
			merged = append(slices.Delete(merged, at, at+1), f)
		}
	}
	return merged
}

// repeats reports whether two factors differ in nothing but their times and what
// their entry might vouch for then. A proof whose time was stated does not give
// way to one whose time was not, nor an asserted acr to none.
func (f Factor) replaces(old Factor) bool {
	return f.AMR == old.AMR && f.Issuer == old.Issuer && f.Entry == old.Entry && f.ACR == old.ACR && f.Dated == old.Dated
}
