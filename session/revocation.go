package session

import "time"

const (
	// Leeway is the difference of clocks that is tolerated in every JWT.
	Leeway = 30 * time.Second
	// VerifierTolerance is the difference that a verifier may tolerate on top.
	VerifierTolerance = time.Minute
)

// RevokedUntil is how long a revocation at `at` has to be known: until no
// verifier accepts an access token any more that was issued before it and
// lived for at most `life`.
func RevokedUntil(at time.Time, life time.Duration) time.Time {
	return at.Add(life + VerifierTolerance + Leeway)
}
