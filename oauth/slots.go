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
	// signingWait is Config.SigningWait by default.
	signingWait = time.Second
	// slotTimeout ends the wait of a request whose estimate was too hopeful: it is so
	// many times the longest estimate.
	slotTimeout = 3
	// maxWaiting bounds the memory of requests that wait.
	maxWaiting = 4096
	// minPause and maxPause bound how long a request that is about to be refused is
	// held back, pauseEach is how much longer for each that is held back already, so
	// that about a thousand a second are refused, and maxPaused how many are.
	minPause, maxPause = 200 * time.Millisecond, time.Second
	pauseEach          = time.Millisecond
	maxPaused          = 2048
	// busyEvery is how often the log mentions refusals.
	busyEvery = 10 * time.Second
)

// signLimiter bounds how many tokens are made at once, and refuses requests that
// would wait too long: RSA is most of a token's cost, and a queue of seconds
// serves nobody. A slot is held over the database's part as well, because after
// it nothing may refuse; so there are a few for each processor.
type signLimiter struct {
	free     chan struct{}
	maxWait  time.Duration // the longest estimate at which a request is still taken in
	waiting  atomic.Int64  // for a slot
	admitted atomic.Int64  // with a place, and not yet at that point
	paused   atomic.Int64
	meanHold atomic.Int64 // how long a slot is held, a moving average in nanoseconds

	refusals   atomic.Uint64
	reported   atomic.Uint64 // of refusals, in the log
	lastReport atomic.Int64
	log        *slog.Logger
}

// errBusy means that a slot would come too late.
var errBusy = errors.New("too many requests are waiting for a signature")

func newSignLimiter(perProcessor int, maxWait time.Duration, log *slog.Logger) *signLimiter {
	return &signLimiter{free: make(chan struct{}, perProcessor*runtime.GOMAXPROCS(0)), maxWait: maxWait, log: log}
}

// wait estimates how long a request that comes now would wait for its slot.
func (s *signLimiter) wait() time.Duration {
	if len(s.free) < cap(s.free) {
		return 0
	}
	return time.Duration((s.waiting.Load() + s.admitted.Load() + 1) * s.meanHold.Load() / int64(cap(s.free)))
}

// crowded reports whether a request that comes now is to be refused.
func (s *signLimiter) isFull() bool {
	return s.wait() > s.maxWait || s.waiting.Load()+s.admitted.Load() >= maxWaiting
}

// admit is asked before a request is read. When too many wait, it pauses: callers
// that repeat at once would otherwise take the processors away from those whose
// tokens are being signed. Waiting costs nothing, refusing does. errBusy: there is
// no room after the pause either.
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

// ticket is the place of a request that was read and has not asked for its slot.
type ticket struct {
	limiter  *signLimiter
	released atomic.Bool
}

// take gives a request its place, once it has been read: somebody who sends half
// of a request takes none. With a place it is not refused any more.
func (s *signLimiter) reserve() (*ticket, error) {
	if s.isFull() {
		return nil, s.refuse()
	}
	s.admitted.Add(1)
	return &ticket{limiter: s}, nil
}

// giveBack gives the place up: the request asks for its slot now, ends without one,
// or waits for somebody else, such as an issuer that does not answer.
func (p *ticket) release() {
	if p != nil && p.released.CompareAndSwap(false, true) {
		p.limiter.admitted.Add(-1)
	}
}

// acquire takes a slot; release gives it back. errBusy: there is none in time.
func (s *signLimiter) acquire(ctx context.Context) (release func(), err error) {
	admitted := returnTicket(ctx)
	select {
	case s.free <- struct{}{}:
		return s.hold(), nil
	default:
	}
	if !admitted && s.isFull() {
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

// holding begins to hold a slot. How long slots are held is real time, whatever
// store time is.
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

// refuse counts a refusal, and mentions it in the log if none was mentioned
// lately: a line for each would cost more than the refusal.
func (s *signLimiter) refuse() error {
	count, now, last := s.refusals.Add(1), time.Now().UnixNano(), s.lastReport.Load()
	if (last == 0 || now-last >= int64(busyEvery)) && s.lastReport.CompareAndSwap(last, now) {
		s.log.Warn("rejecting requests with 503: too many are waiting for a signature", "refused", count-s.reported.Swap(count),
			"waiting", s.waiting.Load(), "estimated_wait", s.wait().String())
	}
	return errBusy
}

// retryAfter spreads the callers that were refused, so that they do not come
// back in the same second.
func retryAfter() string { return strconv.Itoa(1 + rand.IntN(5)) }

type ticketKey struct{}

// withTicket returns a context for what is done for a request with a place.
func withTicket(ctx context.Context, t *ticket) context.Context {
	return context.WithValue(ctx, ticketKey{}, t)
}

// returnTicket gives up the place of the request that ctx belongs to, and reports
// whether it had one.
func returnTicket(ctx context.Context) bool {
	t, ok := ctx.Value(ticketKey{}).(*ticket)
	if !ok {
		return false
	}
	t.release()
	return true
}
