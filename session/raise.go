package session

import "slices"

// Raise adds newly proved factors to those of a session. A method that the same
// entry vouches for again takes the place of its older proof, so that the list
// stays short however often a session is raised.
func Raise(factors, proved []Factor) []Factor {
	raised := slices.DeleteFunc(slices.Clone(factors), func(old Factor) bool {
		return slices.ContainsFunc(proved, func(f Factor) bool { return f.AMR == old.AMR && f.Issuer == old.Issuer && f.Entry == old.Entry })
	})
	return append(raised, proved...)
}
