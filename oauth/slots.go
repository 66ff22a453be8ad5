package oauth

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// signingWait is the default of Config.SigningWait.
	signingWait = time.Second
	// slotTimeout bounds the wait of a request whose estimate was too short, as
	// a multiple of the longest estimate.
	slotTimeout = 3
	// maxWaiting bounds the number of waiting requests, and so their memory.
	maxWaiting = 4096
	// minPause and maxPause bound how long a request is held back before it is
	// rejected. The pause is pauseEach for each request that is already held
	// back, so that about a thousand a second are rejected. maxPaused bounds
	// how many are held back.
	minPause, maxPause = 200 * time.Millisecond, time.Second
	pauseEach          = time.Millisecond
	maxPaused          = 2048
	// busyEvery is the minimum time between two log lines about rejected
	// requests.
	busyEvery = 10 * time.Second
)

// signLimiter bounds how many tokens are signed at once, and rejects requests
// that would wait too long: signing with RSA is most of the cost of a token,
// and a queue of several seconds helps nobody. A slot is held during the
// database transaction as well, because after it nothing may reject the
// request. There are therefore a few slots for each processor.
type signLimiter struct {
	free     chan struct{}
	maxWait  time.Duration // the longest estimate at which a request is still admitted
	waiting  atomic.Int64  // number of requests that wait for a slot
	admitted atomic.Int64  // number of requests with a ticket that do not wait for a slot yet
	paused   atomic.Int64
	meanHold atomic.Int64 // moving average of how long a slot is held, in nanoseconds

	refusals   atomic.Uint64
	reported   atomic.Uint64 // number of refusals that were logged
	lastReport atomic.Int64
	log        *slog.Logger
}

// errBusy means that a slot would not become free in time.
var errBusy = errors.New("too many requests are waiting for a signature")

// newSignLimiter returns a limiter with a number of slots for each processor.
func newSignLimiter(perProcessor int, maxWait time.Duration, log *slog.Logger) *signLimiter {
	return &signLimiter{free: make(chan struct{}, perProcessor*runtime.GOMAXPROCS(0)), maxWait: maxWait, log: log}
}

// wait estimates how long a new request would wait for its slot.
func (s *signLimiter) wait() time.Duration {
	if len(s.free) < cap(s.free) {
		return 0
	}
	return time.Duration((s.waiting.Load() + s.admitted.Load() + 1) * s.meanHold.Load() / int64(cap(s.free)))
}

// isFull reports whether a new request must be rejected.
func (s *signLimiter) isFull() bool {
	return s.wait() > s.maxWait || s.waiting.Load()+s.admitted.Load() >= maxWaiting
}

// admit must be called before a request is read. If too many requests wait, it
// pauses, because callers that retry at once would otherwise take processor
// time from requests whose tokens are being signed: waiting costs nothing, but
// rejecting does. It returns errBusy if the limiter is still full after the
// pause.
func (s *signLimiter) admit(ctx context.Context) error {
	if !s.isFull() {
		return nil
	}
	if n := s.paused.Add(1); n <= maxPaused {
		pause := min(max(minPause, time.Duration(n)*pauseEach), maxPause)
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	s.paused.Add(-1)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.isFull():
		return s.refuse()
	}
	return nil
}

// ticket is the place of a request that has been read but does not wait for its
// slot yet.
type ticket struct {
	limiter  *signLimiter
	released atomic.Bool
}

// reserve returns a ticket for a request that has been read. A caller that
// sends only half of a request gets none. A request with a ticket is rejected
// only if its slot does not become free in time.
func (s *signLimiter) reserve() (*ticket, error) {
	if s.isFull() {
		return nil, s.refuse()
	}
	s.admitted.Add(1)
	return &ticket{limiter: s}, nil
}

// release gives the ticket back: the request now waits for its slot, ends
// without one, or waits for something else, such as an issuer that does not
// respond.
func (t *ticket) release() {
	if t != nil && t.released.CompareAndSwap(false, true) {
		t.limiter.admitted.Add(-1)
	}
}

// acquire waits for a slot and returns a function that releases it. It returns
// errBusy if no slot becomes free in time.
func (s *signLimiter) acquire(ctx context.Context) (release func(), err error) {
	hadTicket := returnTicket(ctx)
	select {
	case s.free <- struct{}{}:
		return s.hold(), nil
	default:
	}
	if !hadTicket && s.isFull() {
		return nil, s.refuse()
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	timer := time.NewTimer(slotTimeout * s.maxWait)
	defer timer.Stop()
	select {
	case s.free <- struct{}{}:
		return s.hold(), nil
	case <-timer.C:
		return nil, s.refuse()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hold starts to measure how long a slot is held, and returns a function that
// releases it. It uses the machine's clock rather than the time of the store.
func (s *signLimiter) hold() (release func()) {
	since := time.Now()
	return func() {
		const weight = 16
		took, mean := int64(time.Since(since)), s.meanHold.Load()
		if mean == 0 {
			mean = took
		}
		s.meanHold.Store(mean + (took-mean)/weight) // a lost update changes little
		<-s.free
	}
}

// refuse counts a refusal, and logs it unless another one was logged recently:
// a line for each would cost more than the refusal.
func (s *signLimiter) refuse() error {
	count, now, last := s.refusals.Add(1), time.Now().UnixNano(), s.lastReport.Load()
	if (last == 0 || now-last >= int64(busyEvery)) && s.lastReport.CompareAndSwap(last, now) {
		s.log.Warn("rejecting requests with 503: too many are waiting for a signature", "refused", count-s.reported.Swap(count),
			"waiting", s.waiting.Load(), "estimated_wait", s.wait().String())
	}
	return errBusy
}

// retryAfter returns a random number of seconds, so that rejected callers do
// not all return in the same second.
func retryAfter() string { return strconv.Itoa(1 + rand.IntN(5)) }

// ticketKey is the key of a request's ticket in its context.
type ticketKey struct{}

// withTicket returns a context for the work of a request with a ticket.
func withTicket(ctx context.Context, t *ticket) context.Context {
	return context.WithValue(ctx, ticketKey{}, t)
}

// returnTicket releases the ticket of the request that ctx belongs to, and
// reports whether it had one.
func returnTicket(ctx context.Context) bool {
	t, ok := ctx.Value(ticketKey{}).(*ticket)
	if !ok {
		return false
	}
	t.release()
	return true
}
