package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/latchkey/latchkey/models/tail"
)

const (
	// maxStreams bounds the number of open streams of a node.
	maxStreams = 1000
	// streamBuffer is how many messages a reader may lag behind before its
	// stream is ended.
	streamBuffer = 64
	// streamWriteTimeout bounds how long a reader may block one write.
	streamWriteTimeout = 10 * time.Second
)

// errStreamEvicted ends the oldest stream of the client that has the most, when
// the node has reached maxStreams.
var errStreamEvicted = errors.New("the node has reached its limit of streams, and this client has the most")

// stream is an open stream of revocations (WHATWG HTML, server-sent events).
type stream struct {
	owner    streamOwner
	messages chan message
	done     chan struct{}
	once     sync.Once
	cause    error // why the stream ended
}

// message is what a feed sends to its streams.
type message struct {
	text           []byte // shared by all streams
	reauthenticate bool   // the stream must authenticate its client again
}

// streamOwner is the client that a stream counts towards.
type streamOwner struct{ tenant, client string }

// end ends the stream. Only the first cause is kept.
func (s *stream) end(cause error) {
	s.once.Do(func() {
		s.cause = cause
		close(s.done)
	})
}

// streamTable holds the open streams of a node, those of each client from the
// oldest to the newest.
type streamTable struct {
	mu      sync.Mutex
	total   int
	byOwner map[streamOwner][]*stream
}

// add adds a stream. If the node has too many, it ends the oldest stream of the
// client with the most. A single client may therefore use all of them while no
// other client wants any, but cannot keep another client out.
func (t *streamTable) add(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byOwner == nil {
		t.byOwner = map[streamOwner][]*stream{}
	}
	t.byOwner[s.owner] = append(t.byOwner[s.owner], s)
	if t.total++; t.total <= maxStreams {
		return
	}
	most := s.owner
	for of, list := range t.byOwner {
		if len(list) > len(t.byOwner[most]) {
			most = of
		}
	}
	oldest := t.byOwner[most][0]
	t.drop(oldest)
	oldest.end(errStreamEvicted)
}

// remove removes a stream that has ended.
func (t *streamTable) remove(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(s)
}

// drop removes a stream if it is still in the table. The caller holds t.mu.
func (t *streamTable) drop(s *stream) {
	list := t.byOwner[s.owner]
	for i, other := range list {
		if other == s {
			t.total--
			if list = append(list[:i:i], list[i+1:]...); len(list) == 0 {
				delete(t.byOwner, s.owner)
			} else {
				t.byOwner[s.owner] = list
			}
			return
		}
	}
}

// endOldest ends the oldest streams of an owner that has more than `most`.
func (t *streamTable) endOldest(owner streamOwner, most int, cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.byOwner[owner]) > most {
		oldest := t.byOwner[owner][0]
		t.drop(oldest)
		oldest.end(cause)
	}
}

// endAll ends every stream.
func (t *streamTable) endAll(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.byOwner {
		for _, s := range list {
			s.end(cause)
		}
	}
}

// len returns the number of open streams.
func (t *streamTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// streamRevocations sends a snapshot and then every revocation as it becomes
// known, until the client or the tail changes. A reader whose stream ends
// reconnects with the last id that it received.
func (s *Server) streamRevocations(w http.ResponseWriter, r *http.Request, call *Call, query url.Values) error {
	since, err := requestedPosition(call.Client, query)
	if err != nil {
		return err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if since, err = parseCursor(call.Client, last); err != nil {
			since = tail.Position{} // a reader that reconnects automatically could not correct it
		}
	}
	out := &stream{owner: streamOwner{call.Tenant.ID, call.Client.ID}, messages: make(chan message, streamBuffer), done: make(chan struct{})}
	s.streams.add(out)
	defer s.streams.remove(out)
	zipped := quality(r.Header.Values("Accept-Encoding"), "gzip", "*") > 0
	f, begin, err := s.beginStream(call, since, out, zipped)
	if err != nil {
		return err
	}
	defer f.remove(out)

	h := w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	h.Add("Vary", "Accept-Encoding")
	if zipped {
		h.Set("Content-Encoding", "gzip")
	}
	w.WriteHeader(http.StatusOK)
	to := newStreamWriter(w, zipped)
	defer extendWriteDeadline(to.http) // net/http still writes after the handler returns
	if call.Cause = to.snapshot(begin); call.Cause == nil {
		call.Cause = s.follow(r, call, out, to)
		to.finish()
	}
	return nil
}

// beginStream joins the feed of the caller's view. If that feed ends at the
// same moment, it joins the next one.
func (s *Server) beginStream(call *Call, since tail.Position, out *stream, zipped bool) (*feed, *snapshot, error) {
	for {
		f, err := s.feedOf(call.Tenant, call.Client)
		if err != nil {
			return nil, nil, err
		}
		begin, err := f.join(call.Client, since, out, zipped)
		if !errors.Is(err, errBehind) {
			return f, begin, err
		}
		if _, err := s.tail.Fresh(); err != nil {
			return nil, nil, err
		}
	}
}

// follow writes messages until the stream ends, and returns why it ended.
func (s *Server) follow(r *http.Request, call *Call, out *stream, to *streamWriter) error {
	for {
		select {
		case m := <-out.messages:
			if m.reauthenticate {
				if err := s.reauthenticate(r, call, call.Client.view()); err != nil {
					return err
				}
				continue
			}
			if err := to.write(m.text); err != nil {
				return err
			}
			if err := to.flush(); err != nil {
				return err
			}
		case <-out.done:
			return out.cause
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
}

// reauthenticate authenticates the client of a stream again, with the
// credentials of its request.
func (s *Server) reauthenticate(r *http.Request, call *Call, view string) error {
	ctx, cancel := context.WithTimeout(r.Context(), feedCheckInterval)
	defer cancel()
	t, err := s.Tenant(ctx, call.Tenant.ID)
	if err != nil {
		return err
	}
	call.Tenant = t
	client, err := s.authenticateCaller(ctx, call, r, false)
	if err != nil {
		return err
	}
	if client.view() != view {
		return errViewChanged
	}
	return nil
}

// snapshot writes a snapshot as an event whose lines are short however long it
// is.
func (w *streamWriter) snapshot(s *snapshot) error {
	head, err := json.Marshal(s.head)
	if err != nil {
		return err
	}
	if err := w.write(fmt.Appendf(nil, "event: snapshot\nid: %s\ndata: %s,\"revoked\":[\n", s.head.Cursor, head[:len(head)-1])); err != nil {
		return err
	}
	if err := w.writePacked(s.compressed, s.lines[:s.compressedLen]); err != nil {
		return err
	}
	if err := w.write(s.lines[s.compressedLen:]); err != nil {
		return err
	}
	if err := w.write([]byte("data: ]}\n\n")); err != nil {
		return err
	}
	return w.flush()
}
