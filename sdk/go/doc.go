// Package latchkey is the Go SDK of Latchkey, a session and token server.
//
// An app signs its users in with whatever authentication service it likes and
// swaps the proof for a session: see [Client]. A resource server verifies the
// access tokens that come with its requests: see [Verifier].
//
// Nothing here is needed to use Latchkey, which speaks plain OAuth 2.0: the
// package adds what standard libraries leave to their callers. A refresh is
// never sent twice at once, a lost answer never loses a session, and a token
// whose session was ended is refused within a second although it is verified
// offline.
package latchkey
