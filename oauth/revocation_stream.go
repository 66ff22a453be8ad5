package oauth

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/latchkey/latchkey/models"
)

const (
	// maxStreams bounds the streams of a node.
	maxStreams = 1000
	// streamTick is how often a stream looks at itself.
	streamTick = time.Second
	// streamBeat is how often a stream says that it is alive.
	streamBeat = 10 * time.Second
	// streamCheck is how often the client of a stream is authenticated again. The
	// node's view of it may be as old as registryBound, so that both make 10 s.
	streamCheck = 5 * time.Second
	// streamPatience is how long a reader may keep one write waiting.
	streamPatience = 10 * time.Second
)

// errStreams refuses a stream beyond the bound.
var errStreams = errors.New("too many streams are open on this node")

// stream is an open stream of revocations (WHATWG HTML, server-sent events).
type stream struct {
	*Server
	http    *http.ResponseController
	w       *bufio.Writer
	call    *Call
	view    string
	beat    time.Time // when it last showed that it is alive
	checked time.Time // when its client was last authenticated
}

// streamRevocations sends what is known, and then every revocation as it
// becomes known, for as long as client and tail stay as they are. A reader
// whose stream ends comes back with the last id that it saw.
func (s *Server) streamRevocations(w http.ResponseWriter, r *http.Request, call *Call, query url.Values) error {
	since, err := askedPosition(call.Client, query)
	if err != nil {
		return err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if since, err = parseCursor(call.Client, last); err != nil {
			since = models.Position{} // a reader that reconnects by itself could not mend it
		}
	}
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		return unavailable(errStreams)
	}
	defer s.streams.Add(-1)
	known, following, err := s.tail.Subscribe(call.Tenant.ID, since)
	if err != nil {
		return err
	}
	defer following.Close()

	now := s.now()
	out := &stream{Server: s, http: http.NewResponseController(w), call: call, view: call.Client.view(), beat: now, checked: now}
	out.w = bufio.NewWriterSize(patientWriter{w, out.http}, 32<<10)
	defer hurry(out.http) // net/http has something to write yet
	h := w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if err := out.snapshot(known); err != nil {
		call.Cause = err
		return nil
	}
	call.Cause = out.follow(r, following)
	return nil
}

// follow sends batches until something ends the stream, and says what.
func (s *stream) follow(r *http.Request, following *models.Subscription) error {
	tick := time.NewTicker(streamTick)
	defer tick.Stop()
	for {
		var err error
		select {
		case batch, open := <-following.C:
			if !open {
				return errors.New("the reader was too slow, or the node follows the log no more")
			}
			err = s.batch(batch)
		case <-tick.C:
			err = s.live(r)
		case <-r.Context().Done():
			return r.Context().Err()
		}
		if err != nil {
			return err
		}
	}
}

// live ends a stream that must not go on, and shows that the others do.
func (s *stream) live(r *http.Request) error {
	asOf, err := s.tail.Fresh()
	if err != nil {
		return err
	}
	now := s.now()
	if now.Sub(s.checked) >= streamCheck {
		if err := s.check(r); err != nil {
			return err
		}
		s.checked = now
	}
	if now.Sub(s.beat) < streamBeat {
		return nil
	}
	s.beat = now
	fmt.Fprintf(s.w, ": as_of %d\n\n", asOf.Unix())
	return s.flush()
}

// check authenticates the client once more, with what it brought at first.
func (s *stream) check(r *http.Request) error {
	t, err := s.Tenant(r.Context(), s.call.Tenant.ID)
	if err != nil {
		return err
	}
	s.call.Tenant = t
	if err := s.authenticateCaller(r.Context(), r, false); err != nil {
		return err
	}
	if s.call.Client.view() != s.view {
		return errors.New("what the client may see has changed")
	}
	return nil
}
