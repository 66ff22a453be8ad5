// Package resource verifies access tokens of a Latchkey server in a resource
// server: see [Verifier], and [Middleware] for HTTP handlers.
//
// A token whose session was ended is refused within a second although it is
// verified offline.
package resource
