package wire

import (
	"math/rand/v2"
	"time"
)

// Backoff returns the pause after the nth failure, counted from 0: it doubles
// from first up to longest. Half of it is random, so that clients that failed
// together do not come back together.
func Backoff(n int, first, longest time.Duration) time.Duration {
	pause := min(first<<min(n, 10), longest)
	return pause/2 + rand.N(pause/2)
}
