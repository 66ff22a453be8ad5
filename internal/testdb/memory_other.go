//go:build !linux

package testdb

// InMemory returns "": only Linux has such a folder.
func InMemory() string { return "" }
