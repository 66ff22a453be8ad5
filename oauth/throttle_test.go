package oauth

import (
	"strconv"
	"testing"
	"time"
)

func TestThrottleHasBoundedMemory(t *testing.T) {
	throttle, now := newThrottle(), time.Unix(1_800_000_000, 0)
	for range failureBurst {
		throttle.fail("default", "backend", "192.0.2.1", now)
	}
	for i := range maxThrottled + 10 {
		throttle.fail("default", strconv.Itoa(i), "192.0.2.1", now)
	}
	if throttle.fail("default", "backend", "192.0.2.1", now) == 0 {
		t.Error("a flood of other names dropped the count")
	}
	for i := range 3 * maxThrottled {
		throttle.fail("default", strconv.Itoa(-i), "192.0.2.1", now)
	}
	if n := len(throttle.recent) + len(throttle.old); n > 2*maxThrottled {
		t.Errorf("holds %d counts", n)
	}
}
