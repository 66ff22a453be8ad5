// Package testfeed tests whatever spreads and answers revocations: the feed, its streams, status
// lists, and introspection from memory,
// over HTTP against the real server.
package testfeed
