package oauth

import (
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	// failureBurst is how many wrong secrets in a row are answered before a
	// caller has to wait.
	failureBurst = 10
	// failureEvery is the interval at which one more wrong secret is answered
	// from then on.
	failureEvery = 6 * time.Second
	// maxThrottled bounds the memory: there are two generations of this size.
	maxThrottled = 1 << 15
)

// throttle counts wrong secrets by client and address (R-TE-21), on this node
// only and in bounded memory. It never rejects a right secret, so that nobody
// can lock a client out with wrong ones.
type throttle struct {
	mu          sync.Mutex
	recent, old map[failure]time.Time // when the count will be back at zero
}

// failure is the key by which wrong secrets are counted.
type failure struct {
	tenant, client [32]byte // fixed in width, because any caller can choose them
	from           netip.Prefix
}

// newThrottle returns an empty throttle.
func newThrottle() *throttle { return &throttle{recent: map[failure]time.Time{}} }

// fail counts a wrong secret and returns how long its sender has to wait, or
// zero. A secret whose sender has to wait is not counted, so that further
// attempts do not make the wait longer.
func (t *throttle) fail(tenant, client, ip string, now time.Time) time.Duration {
	key := failure{sha256.Sum256([]byte(tenant)), sha256.Sum256([]byte(client)), network(ip)}
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

// network returns the part of an address that a sender cannot change at will.
// An IPv6 host can choose the lower half of its address.
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

// tooManyFailures returns the refusal of a wrong secret that was sent too soon
// after others.
func tooManyFailures(wait time.Duration) *Error {
	seconds := int64((wait + time.Second - 1) / time.Second)
	return &Error{Code: "temporarily_unavailable", Reason: ReasonTooManyFailures, Status: http.StatusTooManyRequests, RetryAfter: strconv.FormatInt(seconds, 10),
		Description: "Too many failed authentication attempts for this client from this address; try again after the number of seconds in Retry-After"}
}
