// Package testattack tests the attacks in docs/attacks.md,
// over HTTP against the real server.
package testattack
