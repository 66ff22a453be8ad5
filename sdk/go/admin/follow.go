package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"mime"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

const (
	// firstPause and lastPause bound the pause between two streams.
	firstPause, lastPause = 250 * time.Millisecond, 5 * time.Second
	// maxSilence is how long a stream may send nothing before it counts as broken. The
	// server sends something every 15 s.
	maxSilence = 45 * time.Second
	// resumeOverlap is longer than the time by which the server goes back when a
	// stream is resumed.
	resumeOverlap = time.Minute
)

// FollowOptions configure [Events.Follow].
type FollowOptions struct {
	// LastEventID is the id of the last event that the caller has received. Default:
	// only new events.
	LastEventID string
	// OnDisconnect is called when a stream ends and Follow will open the next.
	OnDisconnect func(reason error)
}

// Follow returns the events of a tenant as they happen, until the context ends. If a
// stream breaks, it reconnects after the last event and keeps trying; only the first
// stream must begin within Config.RetryWindow. An error ends the sequence: the context's
// error, or one that the server returns, for example because the admin key was revoked.
// The Limit and the Cursor of q are ignored.
func (e Events) Follow(ctx context.Context, tenant string, q EventQuery, o FollowOptions) iter.Seq2[Event, error] {
	q.Limit, q.Cursor = 0, ""
	r := request{method: http.MethodGet, path: tenantPath(tenant, "events", "stream"), query: q.values()}
	return func(yield func(Event, error) bool) {
		f := &follower{c: e.c, request: r, last: o.LastEventID, known: map[string]time.Time{}}
		until := time.Now().Add(e.c.window)
		for failures := 0; ; failures++ {
			began := time.Now()
			err := f.stream(ctx, func(e Event) bool { return yield(e, nil) })
			if time.Since(began) > maxSilence {
				failures = 0
			}
			pause := wire.Backoff(failures, firstPause, lastPause)
			if _, after := statusAndWait(err); after > 0 {
				pause += after
			}
			switch {
			case errors.Is(err, errStopped):
				return
			case ctx.Err() != nil:
				err = ctx.Err()
			case isTemporary(err) && (f.connected || time.Now().Add(pause).Before(until)):
				if f.connected && o.OnDisconnect != nil {
					o.OnDisconnect(err)
				}
				if sleep(ctx, pause) {
					continue
				}
				err = ctx.Err()
			}
			yield(Event{}, err)
			return
		}
	}
}

// errStopped means that the caller has stopped the iteration.
var errStopped = errors.New("stopped")

// follower is the state of following events over several streams.
type follower struct {
	c         *connection
	request   request
	connected bool                 // a stream has begun
	last      string               // the id to resume after
	known     map[string]time.Time // events that were returned, which a resumed stream may repeat
	newest    time.Time
}

// withoutTimeout returns an HTTP client without a timeout, for streams.
func (c *connection) withoutTimeout() *http.Client {
	client := *c.http
	client.Timeout = 0
	return &client
}

// stream opens a stream and reads it to its end.
func (f *follower) stream(ctx context.Context, yield func(Event) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(maxSilence, func() { cancel(fmt.Errorf("the stream sent nothing for %s", maxSilence)) })
	defer quiet.Stop()
	r := f.request
	r.header = http.Header{"Accept": {"text/event-stream"}, "Accept-Encoding": {"identity"}} // compression would delay events
	if f.last != "" {
		r.header.Set("Last-Event-ID", f.last)
	}
	answer, err := f.c.open(ctx, r, f.c.withoutTimeout())
	if err != nil {
		return streamError(ctx, err)
	}
	defer answer.Body.Close()
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); kind != "text/event-stream" {
		return &unexpectedResponse{f.c.name(r), answer.StatusCode, 0}
	}
	f.connected = true
	for events := wire.NewEventReader(answer.Body, maxLine); ; {
		event, err := events.Next()
		if id := events.LastID(); id != "" {
			f.last = id
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the server closed the stream")
			}
			return streamError(ctx, &noResponse{err})
		}
		quiet.Reset(maxSilence)
		if event.Name == "" {
			continue
		}
		if err := f.yieldNew(event.Data, yield); err != nil {
			return err
		}
	}
}

// streamError returns the error of a stream: err, or the cause of the context if it has
// ended.
func streamError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return &noResponse{cause}
	}
	return err
}

// yieldNew decodes an event and passes it to yield, unless it was passed before.
func (f *follower) yieldNew(text []byte, yield func(Event) bool) error {
	var event Event
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&event); err != nil {
		return fmt.Errorf("%w: invalid JSON in the stream of events: %w", latchkey.ErrUnavailable, err)
	}
	if _, known := f.known[event.ID]; known {
		return nil
	}
	f.known[event.ID] = event.At
	if event.At.After(f.newest) {
		f.newest = event.At
	}
	if !yield(event) {
		return errStopped
	}
	if len(f.known) > 1000 {
		maps.DeleteFunc(f.known, func(_ string, at time.Time) bool { return f.newest.Sub(at) > resumeOverlap })
	}
	return nil
}
