package oauth

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/models/tail"
)

const (
	// feedTick is the interval at which a feed checks itself and its streams.
	feedTick = time.Second
	// feedHeartbeat is the interval at which a stream shows that it is alive.
	feedHeartbeat = 10 * time.Second
	// feedCheckInterval is the interval at which a feed checks whether its
	// client has changed. The node's view of the client may be as old as
	// registryBound, so a change takes effect within 10 s.
	feedCheckInterval = 5 * time.Second
	// feedReauthInterval is the interval at which every stream authenticates
	// again even if nothing has changed: a secret may expire by time alone.
	feedReauthInterval = 30 * time.Second
	// streamSnapshotMaxAge is how long an entry that no longer matters may
	// remain in the snapshot of a stream, whose reader drops it by itself.
	// documentSnapshotMaxAge is the same for a document.
	streamSnapshotMaxAge   = 15 * time.Second
	documentSnapshotMaxAge = time.Second
	// feedIdleTimeout is how long a feed outlives its last reader.
	feedIdleTimeout = time.Minute
	// maxPartialSnapshot is the largest number of revocations that are encoded
	// for one reader. Beyond it, the complete snapshot, which is already
	// encoded, costs less.
	maxPartialSnapshot = 500
)

var (
	errBehind      = errors.New("the reader was too slow, or the node no longer follows the event log")
	errViewChanged = errors.New("the revocations that the client may see have changed")
)

// feed is shared by all readers of one view. It follows the event log once,
// encodes every revocation once, and has the only ticker.
type feed struct {
	server          *Server
	view            string
	subscription    *tail.Subscription
	checkedAt       time.Time // when its client was last looked up
	authenticatedAt time.Time // when its streams last authenticated

	mu            sync.Mutex
	tenant        *Tenant // in which the client was last looked up; only run changes it
	client        *Client
	streams       map[*stream]bool
	lines         []byte    // entries of a snapshot, one line each; only appended to
	builtAt       time.Time // when the first of them were encoded
	expires       time.Time // when the first of them no longer matters
	compressed    []byte    // the first compressedLen bytes of lines, as blocks of DEFLATE
	compressedLen int
	lastBeat      time.Time // when its streams last showed that they are alive
	lastUsed      time.Time // when it last had a reader
	ended         bool
}

// feedOf returns the feed of the client's view. It starts the feed for its
// first reader.
func (s *Server) feedOf(t *Tenant, c *Client) (*feed, error) {
	view := c.view()
	s.feedsMu.Lock()
	defer s.feedsMu.Unlock()
	if f := s.feeds[view]; f != nil && f.alive() {
		return f, nil
	}
	known, following, err := s.tail.Subscribe(t.ID, tail.Position{})
	if err != nil {
		return nil, err
	}
	now := s.now()
	f := &feed{server: s, view: view, subscription: following, tenant: t, client: c, streams: map[*stream]bool{},
		lastBeat: now, checkedAt: now, authenticatedAt: now, lastUsed: now}
	f.build(known.Revocations, now)
	if s.feeds == nil {
		s.feeds = map[string]*feed{}
	}
	s.feeds[view] = f
	go f.run()
	return f, nil
}

// alive reports whether the feed has not ended.
func (f *feed) alive() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.ended
}

// run sends new revocations to the streams until the feed ends.
func (f *feed) run() {
	defer f.subscription.Close()
	tick := time.NewTicker(feedTick)
	defer tick.Stop()
	for {
		var err error
		select {
		case batch, open := <-f.subscription.C:
			if err = errBehind; open {
				f.mu.Lock()
				err = f.add(batch)
				f.mu.Unlock()
			}
		case <-tick.C:
			err = f.tick()
		}
		if err != nil {
			f.end(err)
			return
		}
	}
}

// end ends the feed and all of its streams.
func (f *feed) end(why error) {
	f.mu.Lock()
	f.ended = true
	for s := range f.streams {
		s.end(why)
	}
	f.mu.Unlock()
	f.server.feedsMu.Lock()
	defer f.server.feedsMu.Unlock()
	if f.server.feeds[f.view] == f {
		delete(f.server.feeds, f.view)
	}
}

// errIdle ends a feed without readers.
var errIdle = errors.New("the feed has no readers")

// tick returns an error if the feed must end. Otherwise it sends a heartbeat to
// the streams when one is due.
func (f *feed) tick() error {
	asOf, err := f.server.tail.Fresh()
	if err != nil {
		return err
	}
	now := f.server.now()
	if err := f.check(now); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.streams) > 0 {
		f.lastUsed = now
	}
	if now.Sub(f.lastUsed) >= feedIdleTimeout {
		return errIdle
	}
	if now.Sub(f.lastBeat) >= feedHeartbeat {
		f.lastBeat = now
		f.send(message{text: fmt.Appendf(nil, ": as_of %d\n\n", asOf.Unix())})
	}
	return nil
}

// check returns an error if the client may no longer see the same revocations.
// If it may have changed, every stream authenticates again. Only run calls it.
func (f *feed) check(now time.Time) error {
	if now.Sub(f.checkedAt) < feedCheckInterval {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), feedCheckInterval)
	defer cancel()
	t, err := f.server.Tenant(ctx, f.tenant.ID)
	if err != nil {
		return err
	}
	f.checkedAt = now
	changed := t != f.tenant
	if !changed && now.Sub(f.authenticatedAt) < feedReauthInterval {
		return nil
	}
	c := t.client(f.client.ID)
	if c == nil || c.view() != f.view {
		return errViewChanged
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tenant, f.client, f.authenticatedAt = t, c, now; changed {
		f.builtAt = time.Time{} // the content of a snapshot may depend on the client
	}
	f.send(message{reauthenticate: true})
	return nil
}

// send sends a message to every stream without waiting for any. A stream that
// does not keep up is ended; its reader reconnects with its position. The
// caller holds f.mu.
func (f *feed) send(m message) {
	for s := range f.streams {
		select {
		case s.messages <- m:
		default:
			s.end(errBehind)
			delete(f.streams, s)
		}
	}
}

// add encodes one batch of the tail for the streams and for later snapshots.
// The id of each event is the position before the batch: a reader that is cut
// off in the middle gets the whole batch again. The caller holds f.mu.
func (f *feed) add(b tail.Batch) error {
	var text []byte
	id := cursor(f.client, b.Before)
	f.trackExpiry(b.Revocations)
	for _, e := range entries(f.client, b.Revocations) {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		text = fmt.Appendf(text, "event: revoked\nid: %s\ndata: %s\n\n", id, line)
		f.lines = appendLine(f.lines, line)
	}
	if text != nil {
		f.send(message{text: text})
	}
	return nil
}

// build encodes the entries of a snapshot. The caller holds f.mu, unless f is
// new.
func (f *feed) build(known []*models.Revocation, now time.Time) {
	f.lines, f.compressed, f.compressedLen, f.builtAt, f.expires = nil, nil, 0, now, time.Time{}
	f.trackExpiry(known)
	for _, e := range entries(f.client, known) {
		if line, err := json.Marshal(e); err == nil { // strings and integers always encode
			f.lines = appendLine(f.lines, line)
		}
	}
}

// trackExpiry updates when the first of the entries no longer matters.
func (f *feed) trackExpiry(known []*models.Revocation) {
	for _, r := range known {
		if f.expires.IsZero() || r.Until.Before(f.expires) {
			f.expires = r.Until
		}
	}
}

const linePrefix = "data: "

// appendLine adds an entry of a snapshot as a line of its own, so that lines
// are short however many entries there are.
func appendLine(lines, entry []byte) []byte {
	first := len(lines) == 0
	lines = append(lines, linePrefix...)
	if !first {
		lines = append(lines, ',')
	}
	return append(append(lines, entry...), '\n')
}

// snapshot is the first message that a reader gets.
type snapshot struct {
	head          snapshotHead
	lines         []byte // its entries, one line each
	compressed    []byte // the first of them, compressed; nil: none
	compressedLen int    // how many bytes of lines are compressed
}

// join returns what a reader has missed since its position. If s is set, the
// stream gets every later revocation.
func (f *feed) join(c *Client, since tail.Position, s *stream, pack bool) (*snapshot, error) {
	tail := f.server.tail
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, errBehind
	}
	at, everything, err := tail.Position(since)
	if err != nil {
		return nil, err
	}
	if err := f.catchUp(); err != nil { // so that the snapshot is complete up to its position
		return nil, err
	}
	now := f.server.now()
	f.lastUsed = now
	head := snapshotHead{Cursor: cursor(c, at), AsOf: at.At.Unix()}
	if s != nil {
		f.streams[s] = true
	}
	if !everything {
		known, err := tail.Revoked(f.tenant.ID, since)
		if err != nil {
			delete(f.streams, s)
			return nil, err
		}
		if len(known.Revocations) <= maxPartialSnapshot {
			return f.partialSnapshot(c, known.Revocations, head)
		}
	}
	age := documentSnapshotMaxAge
	if s != nil {
		age = streamSnapshotMaxAge
	}
	if err := f.rebuildIfStale(now, age); err != nil {
		delete(f.streams, s)
		return nil, err
	}
	whole := &snapshot{head: head, lines: f.lines}
	if pack && f.compress() == nil {
		whole.compressed, whole.compressedLen = f.compressed, f.compressedLen
	}
	return whole, nil
}

// partialSnapshot returns a snapshot of the given revocations.
func (f *feed) partialSnapshot(c *Client, known []*models.Revocation, head snapshotHead) (*snapshot, error) {
	few := &snapshot{head: head}
	for _, e := range entries(c, known) {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		few.lines = appendLine(few.lines, line)
	}
	return few, nil
}

// catchUp adds the batches that the tail has already sent. The caller holds
// f.mu.
func (f *feed) catchUp() error {
	for {
		select {
		case batch, open := <-f.subscription.C:
			if !open {
				return fmt.Errorf("%w: %w", models.ErrUnavailable, errBehind)
			}
			if err := f.add(batch); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// rebuildIfStale encodes the entries again if the client has changed, or if
// some no longer matter and the entries are older than maxAge. The caller holds
// f.mu.
func (f *feed) rebuildIfStale(now time.Time, maxAge time.Duration) error {
	over := !f.expires.IsZero() && !now.Before(f.expires)
	if !f.builtAt.IsZero() && (!over || now.Sub(f.builtAt) < maxAge) {
		return nil
	}
	known, err := f.server.tail.Revoked(f.tenant.ID, tail.Position{})
	if err == nil {
		f.build(known.Revocations, now)
	}
	return err
}

// compress compresses the lines if many were added since the last time. The
// caller holds f.mu.
func (f *feed) compress() error {
	const few = 16 << 10
	if f.compressed != nil && len(f.lines)-f.compressedLen < few {
		return nil
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := w.Write(f.lines); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	f.compressed, f.compressedLen = out.Bytes(), len(f.lines)
	return nil
}

// remove removes a stream from the feed.
func (f *feed) remove(s *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.streams, s)
}
