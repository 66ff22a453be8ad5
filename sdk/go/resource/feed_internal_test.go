package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// newTestFeed returns a stream of a feed whose clock is *now.
func newTestFeed(now *time.Time) *feedStream {
	d := &wire.Issuer{URL: "https://auth.example.com", Now: func() time.Time { return *now }}
	f := newFeed(d, wire.Credentials{}, nil, VerifierOptions{Logger: slog.New(slog.DiscardHandler)})
	return &feedStream{feed: f, answeredAt: *now}
}

// text lets the feed read a text to its end.
func (s *feedStream) text(t *testing.T, text string) {
	t.Helper()
	if err := s.read(wire.NewEventReader(strings.NewReader(text), wire.MaxLine)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestOnlyAnAdvancingAsOfIsASignOfLife(t *testing.T) {
	const at = 1790000000 // of the server
	snapshot := fmt.Sprintf("event: snapshot\ndata: {\"cursor\":\"c\",\"as_of\":%d,\"revoked\":[]}\n\n", at)
	for name, c := range map[string]struct {
		between func(second int64) string // returns what is sent at a second
		alive   bool
	}{
		"as_of advances":              {func(n int64) string { return fmt.Sprintf(": as_of %d\n\n", at+n) }, true},
		"as_of stays the same":        {func(int64) string { return fmt.Sprintf(": as_of %d\n\n", at) }, false},
		"as_of is late":               {func(n int64) string { return fmt.Sprintf(": as_of %d\n\n", at+n-31) }, false},
		"as_of goes back":             {func(n int64) string { return fmt.Sprintf(": as_of %d\n\n", at-n) }, false},
		"only revocations come":       {func(int64) string { return "event: revoked\ndata: {\"sid\":\"s\",\"until\":1790001000}\n\n" }, false},
		"only other comments come":    {func(int64) string { return ": still there\n\n: as_of x\n\n" }, false},
		"only unknown events come":    {func(int64) string { return "event: other\ndata: x\n\n" }, false},
		"nothing comes":               {func(int64) string { return "" }, false},
		"as_of advances in data only": {func(n int64) string { return fmt.Sprintf("data: : as_of %d\n\n", at+n) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(at+12345, 0) // the clocks differ
			s := newTestFeed(&now)
			if s.checkCurrent(now) == nil {
				t.Fatal("it is current before the snapshot")
			}
			s.text(t, c.between(0))
			if s.checkCurrent(now) == nil {
				t.Fatal("it is current before the snapshot")
			}
			s.text(t, snapshot)
			for n := int64(10); n <= 30; n += 10 {
				now = now.Add(10 * time.Second)
				s.text(t, c.between(n))
			}
			if alive := s.checkCurrent(now) == nil; alive != c.alive {
				t.Errorf("a sign of life: %t", alive)
			}
		})
	}
}

// Something on the way answers every request with a recorded stream.
func TestAReplayedStreamIsNoSignOfLife(t *testing.T) {
	const at = 1790000000
	recorded := fmt.Sprintf("event: snapshot\nid: c\ndata: {\"cursor\":\"c\",\"as_of\":%d,\"revoked\":[]}\n\n: as_of %d\n\n", at, at+10)
	now := time.Unix(at, 0)
	s := newTestFeed(&now)
	for range 12 { // two minutes
		s = &feedStream{feed: s.feed, answeredAt: now, openedAt: now}
		s.text(t, recorded)
		now = now.Add(10 * time.Second)
	}
	if s.checkCurrent(now) == nil {
		t.Errorf("revocations count as known until %s", s.asOf)
	}
}

// A slow drift is no replay.
func TestTheServersClockMayDrift(t *testing.T) {
	now, server := time.Unix(1790000000, 0), time.Unix(1790000000, 0)
	s := newTestFeed(&now)
	for range 2000 {
		s = &feedStream{feed: s.feed, answeredAt: now, openedAt: now}
		s.text(t, fmt.Sprintf("event: snapshot\ndata: {\"cursor\":\"c\",\"as_of\":%d,\"revoked\":[]}\n\n", server.Unix()))
		if err := s.checkCurrent(now); err != nil {
			t.Fatal(err)
		}
		now, server = now.Add(10*time.Second), server.Add(9950*time.Millisecond)
	}
}

// An as_of in the future would count as current later.
func TestAServerWhoseClockIsFarAheadIsNotTrusted(t *testing.T) {
	now := time.Unix(1790000000, 0)
	s := newTestFeed(&now)
	snapshot := fmt.Sprintf("event: snapshot\ndata: {\"cursor\":\"c\",\"as_of\":%d,\"revoked\":[]}\n\n", now.Unix()+61)
	if err := s.read(wire.NewEventReader(strings.NewReader(snapshot), wire.MaxLine)); err == nil || errors.Is(err, io.EOF) || s.checkCurrent(now) == nil {
		t.Errorf("it is trusted: %v", err)
	}
}

// An id that is no valid header value, or that the server rejects, is not sent
// again.
func TestABadIDDoesNotLoseTheFeed(t *testing.T) {
	for name, id := range map[string]string{"a long one": strings.Repeat("A", 60<<10), "a rejected one": "bad"} {
		t.Run(name, func(t *testing.T) {
			first := true
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Last-Event-ID") == "bad" {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				sent := "good"
				if first {
					sent, first = id, false
				}
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprintf(w, "event: snapshot\nid: %s\ndata: {\"cursor\":\"c\",\"as_of\":%d,\"revoked\":[]}\n\n", sent, time.Now().Unix())
			}))
			server.Config.MaxHeaderBytes = 32 << 10
			server.Start()
			t.Cleanup(server.Close)
			d := &wire.Issuer{URL: server.URL, Now: time.Now, HTTPClient: &http.Client{}}
			f := newFeed(d, wire.Credentials{ID: "a", Secret: "b"}, &introspector{audience: "api"}, VerifierOptions{Logger: slog.New(slog.DiscardHandler)})
			refused := 0
			for range 5 {
				if errors.As(f.followStream(t.Context()), new(busyError)) {
					refused++
				}
			}
			if refused > 1 {
				t.Errorf("%d of 5 streams were rejected", refused)
			}
		})
	}
}

// A comment before the snapshot is ignored, even if its time is right.
func TestACommentBeforeTheSnapshotIsNoSignOfLife(t *testing.T) {
	now := time.Unix(1790000000, 0)
	s := newTestFeed(&now)
	if s.text(t, ": as_of 1790000000\n\n"); s.checkCurrent(now) == nil {
		t.Error("it counts as a sign of life")
	}
}

// The first tokens wait for the first stream, until their context ends.
func TestTheFirstTokensWaitForTheFeed(t *testing.T) {
	for name, c := range map[string]struct {
		then func(s *feedStream, giveUp context.CancelFunc)
		want error
	}{
		"it begins": {func(s *feedStream, _ context.CancelFunc) {
			s.text(t, "event: snapshot\ndata: {\"as_of\":1,\"revoked\":[]}\n\n")
		}, nil},
		"it fails":            {func(s *feedStream, _ context.CancelFunc) { s.streamEnded(io.EOF) }, latchkey.ErrUnavailable},
		"the caller gives up": {func(_ *feedStream, giveUp context.CancelFunc) { giveUp() }, latchkey.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Unix(1790000000, 0)
				s := newTestFeed(&now)
				ctx, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				verdict := make(chan error, 1)
				go func() { verdict <- s.check(ctx, &Token{IssuedAt: now}, "", now) }()
				synctest.Wait()
				if len(verdict) > 0 {
					t.Fatal("the token does not wait")
				}
				c.then(s, giveUp)
				if err := <-verdict; !errors.Is(err, c.want) {
					t.Errorf("the check returns %v", err)
				}
			})
		})
	}
}

func TestAMalformedStreamIsClosed(t *testing.T) {
	for name, text := range map[string]string{
		"a snapshot without as_of":        "event: snapshot\ndata: {\"revoked\":[]}\n\n",
		"a snapshot without entries":      "event: snapshot\ndata: {\"as_of\":1790000000}\n\n",
		"a snapshot that is no JSON":      "event: snapshot\ndata: x\n\n",
		"a snapshot entry without until":  "event: snapshot\ndata: {\"as_of\":1790000000,\"revoked\":[{\"sid\":\"s\"}]}\n\n",
		"a revocation without until":      "event: revoked\ndata: {\"sid\":\"s\"}\n\n",
		"a revocation that is no JSON":    "event: revoked\ndata: {\"sid\":1}\n\n",
		"a line that is too long":         strings.Repeat("x", wire.MaxLine+1),
		"a snapshot that is cut in lines": "event: snapshot\ndata: {\"as_of\":1790000000,\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1790000000, 0)
			s := newTestFeed(&now)
			if err := s.read(wire.NewEventReader(strings.NewReader("id: 1\n"+text+": as_of 1790000000\n\n"), wire.MaxLine)); errors.Is(err, io.EOF) {
				t.Error("it is accepted")
			}
			if s.checkCurrent(now) == nil || s.resumeID() != "" || s.revoked.size() != 0 {
				t.Error("it is trusted")
			}
		})
	}
}

// Entries of later servers must not be ignored.
func TestAnEntryOfAnUnknownKindMayRevokeAnyToken(t *testing.T) {
	now := time.Unix(1790000000, 0)
	s := newTestFeed(&now)
	s.text(t, "event: revoked\ndata: {\"device\":\"d\",\"before\":1790000001,\"until\":1790001000}\n\n")
	if _, doubted := s.revoked.mayRevoke(&Token{IssuedAt: now}); !doubted {
		t.Error("an earlier token is not affected")
	}
	if _, doubted := s.revoked.mayRevoke(&Token{IssuedAt: now.Add(time.Second)}); doubted {
		t.Error("a later token is affected")
	}
}

func TestAnEntryIsNeverNarrowed(t *testing.T) {
	now := time.Unix(1790000000, 0)
	r := newRevokedSet()
	at := now.Unix()
	for _, entries := range [][]revokedEntry{
		{{SID: "s", Until: at + 100}, {SID: "s", Until: at + 50}},
		{{Sub: "u", Before: at + 10, Until: at + 100}, {Sub: "u", Before: at + 5, Until: at + 50}},
	} {
		r.add(entries, now)
	}
	r.prune(now.Add(99 * time.Second))
	if !r.revokes(&Token{SessionID: "s", IssuedAt: now.Add(time.Hour), tokenState: &tokenState{}}) || !r.revokes(&Token{Subject: "u", IssuedAt: now.Add(9 * time.Second)}) {
		t.Error("a later entry narrowed an earlier one")
	}
	if r.revokes(&Token{Subject: "u", IssuedAt: now.Add(10 * time.Second)}) || r.revokes(&Token{IssuedAt: now}) {
		t.Error("an entry revokes tokens that it does not match")
	}
	if r.prune(now.Add(100 * time.Second)); r.size() != 0 {
		t.Error("an expired entry is kept")
	}
}

func TestPausesGrowAndDiffer(t *testing.T) {
	busy := busyError{503, 7 * time.Second}
	for name, c := range map[string]struct {
		failures int
		err      error
		from, to time.Duration
	}{
		"the first":                {1, io.EOF, 125 * time.Millisecond, 250 * time.Millisecond},
		"the third":                {3, io.EOF, 500 * time.Millisecond, time.Second},
		"the hundredth":            {100, io.EOF, 2500 * time.Millisecond, 5 * time.Second},
		"the server's Retry-After": {1, fmt.Errorf("x: %w", busy), 7 * time.Second, 7250 * time.Millisecond},
		"a Retry-After of an hour": {1, busyError{503, time.Hour}, 30 * time.Second, 30250 * time.Millisecond},
		"a rejected client":        {1, errRefused, 30 * time.Second, 30*time.Second + 1},
	} {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				if p := reconnectDelay(c.failures, c.err); p < c.from || p >= c.to {
					t.Fatalf("waits %s", p)
				}
			}
		})
	}
}
