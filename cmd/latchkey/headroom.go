package main

import "runtime"

// ballastSize is the size of memory that is allocated but never touched. It takes
// no physical memory, but counts as live heap, so the heap may grow by as much more
// before the next collection. Without it, a small heap is collected constantly
// under load; a higher GC percentage would instead let a large heap grow to a
// multiple of its size.
const ballastSize = 16 << 20

// gcBallast allocates the ballast. It is held until release is called.
func gcBallast() (release func()) {
	ballast := make([]byte, ballastSize)
	return func() { runtime.KeepAlive(ballast) }
}
