//go:build !unix

package models

func peekAt(uintptr) int { return peekNothing }
