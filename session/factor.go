package session

import "slices"

// AddFactors adds newly proved factors to those of a session. If the same entry
// proved the same method more than once, only the latest of the otherwise equal
// proofs is kept. The list therefore stays short however often a session is
// stepped up, and an old proof in a new client token does not replace a later
// one.
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

// replaces reports whether two factors differ only in their times and in what
// their entry might vouch for at the time. A proof whose time the issuer stated
// is not replaced by one whose time it did not state, nor is an asserted acr by
// none.
func (f Factor) replaces(old Factor) bool {
	return f.AMR == old.AMR && f.Issuer == old.Issuer && f.Entry == old.Entry && f.ACR == old.ACR && f.Dated == old.Dated
}
