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
	// silence is how long a stream may be without a sign of life. The server
	// sends one every 15 s.
	silence = 45 * time.Second
	// overlap is more than the time by which the server goes back when a stream
	// is resumed.
	overlap = time.Minute
)

// FollowOptions configure [Events.Follow].
type FollowOptions struct {
	// LastEventID is the id of the last event that was received. Default: the
	// stream begins now.
	LastEventID string
	// OnDisconnect is called when a stream ends and another one will be opened.
	OnDisconnect func(reason error)
}

// Follow returns the events of a tenant as they happen, until the context ends.
// It resumes a broken stream after the last event, for as long as the server may
// come back; the first stream must begin within Config.RetryWindow. An error ends
// it: the context's, or a refusal of the server, for example because the admin
// key was revoked. Query.Limit and Query.Cursor are ignored.
func (e Events) Follow(ctx context.Context, tenant string, q EventQuery, o FollowOptions) iter.Seq2[Event, error] {
	q.Limit, q.Cursor = 0, ""
	r := request{method: http.MethodGet, path: tenantPath(tenant, "events", "stream"), query: q.values()}
	return func(yield func(Event, error) bool) {
		f := &follower{c: e.c, request: r, last: o.LastEventID, known: map[string]time.Time{}}
		until := time.Now().Add(e.c.window)
		for failures := 0; ; failures++ {
			began := time.Now()
			err := f.stream(ctx, func(e Event) bool { return yield(e, nil) })
			if time.Since(began) > silence {
				failures = 0
			}
			pause := wire.Backoff(failures, firstPause, lastPause)
			if _, after := response(err); after > 0 {
				pause += after
			}
			switch {
			case errors.Is(err, errStopped):
				return
			case ctx.Err() != nil:
				err = ctx.Err()
			case passing(err) && (f.connected || time.Now().Add(pause).Before(until)):
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

// errStopped means that the caller has seen enough.
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

// streams returns an HTTP client without a limit of time.
func (c *connection) streams() *http.Client {
	client := *c.http
	client.Timeout = 0
	return &client
}

// stream opens a stream and reads it to its end.
func (f *follower) stream(ctx context.Context, yield func(Event) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the stream gave no sign of life for %s", silence)) })
	defer quiet.Stop()
	r := f.request
	r.header = http.Header{"Accept": {"text/event-stream"}, "Accept-Encoding": {"identity"}} // compression would delay events
	if f.last != "" {
		r.header.Set("Last-Event-ID", f.last)
	}
	answer, err := f.c.open(ctx, r, f.c.streams())
	if err != nil {
		return endOf(ctx, err)
	}
	defer answer.Body.Close()
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); kind != "text/event-stream" {
		return &unexpected{f.c.name(r), answer.StatusCode, 0}
	}
	f.connected = true
	for events := wire.NewEventReader(answer.Body, maxLine); ; {
		event, err := events.Next()
		if id := events.LastID(); id != "" {
			f.last = id
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the server ended the stream")
			}
			return endOf(ctx, &noResponse{err})
		}
		quiet.Reset(silence)
		if event.Name == "" {
			continue
		}
		if err := f.handle(event.Data, yield); err != nil {
			return err
		}
	}
}

// endOf returns why a stream ended: err, or what has ended the context.
func endOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return &noResponse{cause}
	}
	return err
}

// handle returns an event that was not returned before.
func (f *follower) handle(text []byte, yield func(Event) bool) error {
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
		maps.DeleteFunc(f.known, func(_ string, at time.Time) bool { return f.newest.Sub(at) > overlap })
	}
	return nil
}
