package oauth

import (
	"math"
	"runtime"
)

// allocated returns how many bytes fn allocates: the least of a few runs, because
// other allocations are counted as well.
func allocated(fn func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fn()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}
