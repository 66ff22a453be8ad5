// Package testfeed tests how revocations are distributed: the feed, its streams, status
// lists, and introspection from memory, over HTTP against the real server.
package testfeed
