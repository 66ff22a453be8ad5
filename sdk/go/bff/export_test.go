package bff

import "time"

// Hurry makes revocations wait for no longer than that.
func (b *BFF) Hurry(d time.Duration) { b.signOutTimeout, b.revokePause = d, d }
