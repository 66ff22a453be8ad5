// Package latchkey is the Go SDK of Latchkey, a session and token server, for
// apps.
//
// An app signs its users in with whatever authentication service it likes and
// swaps the proof for a session: see [Client]. A resource server verifies the
// access tokens that come with its requests: see package
// [github.com/latchkey/latchkey/sdk/go/resource].
//
// Nothing here is needed to use Latchkey, which speaks plain OAuth 2.0: the
// package adds what standard libraries leave to their callers. A refresh is
// never sent twice at once, and a lost answer never loses a session.
package latchkey
