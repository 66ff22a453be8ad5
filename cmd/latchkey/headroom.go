package main

import "runtime"

// headroom is memory that is never touched, and so never taken from the system,
// but counts as in use: the heap may grow by as much more before it is collected.
// A small heap would be collected again and again under load; a higher GC
// percentage would let a large one grow to a multiple of itself.
const headroom = 16 << 20

// keepHeadroom takes the headroom until release is called.
func keepHeadroom() (release func()) {
	ballast := make([]byte, headroom)
	return func() { runtime.KeepAlive(ballast) }
}
