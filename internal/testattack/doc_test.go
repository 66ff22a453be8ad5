// Package testattack tests the attacks of docs/attacks.md,
// over HTTP against the real server.
package testattack
