package oauth

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/latchkey/latchkey/oauth/fetch"
)

// The limits of R-JK-13 … R-JK-15 in docs/conformance.md. Other tests refer to
// them by their names.
func TestLimitsOfFetches(t *testing.T) {
	for _, private := range []bool{false, true} {
		if got := fetch.New(fetch.Options{AllowPrivate: private}).Timeout; got != 5*time.Second {
			t.Errorf("the timeout of a fetch is %v", got)
		}
	}
	if got := fmt.Sprint(fetch.DefaultMaxBody, maxIssuerKeys, refetchPause, leeway); got != "524288 100 30s 30s" {
		t.Error(got)
	}
}

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
