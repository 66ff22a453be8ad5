// Package testsdk holds the tests of the Go SDK against the real server.
package testsdk
