package session

import "time"

const (
	// Leeway is the clock difference that is tolerated in every JWT.
	Leeway = 30 * time.Second
	// VerifierTolerance is the additional clock difference that a verifier may
	// tolerate.
	VerifierTolerance = time.Minute
)

// RevokedUntil returns until when a revocation at `at` must be known: until no
// verifier accepts any access token that was issued before it with a lifetime
// of at most `life`.
func RevokedUntil(at time.Time, life time.Duration) time.Time {
	return at.Add(life + VerifierTolerance + Leeway)
}
