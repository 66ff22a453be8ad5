// Package testwire tests the endpoints as RFCs and docs/conformance.md describe them,
// over HTTP against the real server.
package testwire
