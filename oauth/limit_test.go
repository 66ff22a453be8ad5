package oauth

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"
)

// The limits that CONFORMANCE R-JK-13 … R-JK-15 name; elsewhere tests speak of
// them by their names.
func TestLimitsOfWhatIsFetched(t *testing.T) {
	for _, private := range []bool{false, true} {
		if got := newFetcher(private).Timeout; got != 5*time.Second {
			t.Errorf("a fetch may last %v", got)
		}
	}
	if got := fmt.Sprint(maxFetch, maxIssuerKeys, refetchPause, leeway); got != "524288 100 30s 30s" {
		t.Error(got)
	}
}

// allocated is how many bytes fn allocates: the least of a few runs, since
// what else goes on is counted too.
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
