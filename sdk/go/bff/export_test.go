package bff

import "time"

// Hurry shortens the pauses of sign-out and revocation.
func (b *BFF) Hurry(d time.Duration) { b.signOutTimeout, b.revokePause = d, d }
