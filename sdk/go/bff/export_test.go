package bff

import "time"

// ShortenTimeouts shortens the pauses of sign-out and revocation.
func (b *BFF) ShortenTimeouts(d time.Duration) { b.signOutTimeout, b.revokePause = d, d }
