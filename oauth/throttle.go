package oauth

import (
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	// failureBurst is how many wrong secrets in a row are answered before the
	// wait begins.
	failureBurst = 10
	// failureEvery is how often one more is answered from then on.
	failureEvery = 6 * time.Second
	// maxThrottled bounds what is remembered: two generations of so many.
	maxThrottled = 1 << 15
)

// throttle counts wrong secrets per client and address (CONFORMANCE R-TE-21),
// for this node alone and in bounded memory. It never stands before a right
// secret, so that nobody can lock a client out by guessing beside it.
type throttle struct {
	mu          sync.Mutex
	recent, old map[failure]time.Time // when the count is back at zero
}

// failure is what wrong secrets are counted by.
type failure struct {
	tenant, client [32]byte // fixed in width, since a stranger chooses them
	from           netip.Prefix
}

func newThrottle() *throttle { return &throttle{recent: map[failure]time.Time{}} }

// fail counts a wrong secret and says how long its sender has to wait; zero:
// not at all. One that has to wait is not counted, so that hammering does not
// make the wait longer.
func (t *throttle) fail(tenant, client, ip string, now time.Time) time.Duration {
	key := failure{[32]byte(fixedWidth(tenant)), [32]byte(fixedWidth(client)), network(ip)}
	t.mu.Lock()
	defer t.mu.Unlock()
	zero, known := t.recent[key]
	if !known {
		zero = t.old[key]
	}
	if zero.Before(now) {
		zero = now
	}
	zero = zero.Add(failureEvery)
	if wait := zero.Sub(now) - failureBurst*failureEvery; wait > 0 {
		return wait
	}
	if len(t.recent) >= maxThrottled && !known {
		t.recent, t.old = map[failure]time.Time{}, t.recent
	}
	t.recent[key] = zero
	return 0
}

// network is the address that a sender cannot change at will: IPv6 hosts
// choose the lower half of theirs.
func network(ip string) netip.Prefix {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

// tooManyFailures answers a wrong secret that came too soon after others.
func tooManyFailures(wait time.Duration) *Error {
	seconds := int64((wait + time.Second - 1) / time.Second)
	return &Error{Code: "temporarily_unavailable", Reason: ReasonTooManyFailures, Status: http.StatusTooManyRequests, RetryAfter: strconv.FormatInt(seconds, 10),
		Description: "Too many failed authentication attempts for this client from this address; try again after the number of seconds in Retry-After"}
}
