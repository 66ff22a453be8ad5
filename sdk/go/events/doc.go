// Package events receives the events of a Latchkey tenant: what happens to sessions,
// users and keys.
//
// [Webhooks] verifies webhooks by Standard Webhooks 1.0. [Verifier] verifies security
// event tokens (RFC 8417), which a stream of the Shared Signals Framework pushes or
// returns to a poll.
//
// Both can arrive more than once: remember the ID of an event for a week, and ignore it
// if you have seen it. Events of one session can arrive in another order: ignore an
// event whose Sequence is lower than one that you have seen for this session.
package events
