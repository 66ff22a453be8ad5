package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// feedStream is an open stream.
type feedStream struct {
	*feed
	openedAt     time.Time // when the request was sent, by the verifier's clock
	answeredAt   time.Time // when the response header arrived
	snapshotSeen bool
}

// followStream opens a stream and reads it to its end.
func (f *feed) followStream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &feedStream{feed: f, openedAt: f.Now()}
	go s.closeWhenSilent(ctx, cancel)
	body, err := s.open(ctx)
	if err != nil {
		return reason(ctx, err)
	}
	defer body.Close()
	s.answeredAt = f.Now()
	err = s.read(wire.NewEventReader(body, wire.MaxLine))
	if errors.Is(err, io.EOF) {
		err = errors.New("the server ended the stream")
	}
	return reason(ctx, err)
}

// reason returns the cause of the context's end if it has ended, and err
// otherwise.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// open requests the stream. The server rejects a client that may not receive
// all revocations for the audience: a verifier would accept revoked tokens.
func (s *feedStream) open(ctx context.Context) (io.ReadCloser, error) {
	from := s.URL + "/revocations?" + url.Values{"audience": {s.introspector.audience}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	s.Authenticate(r)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Accept-Encoding", "identity") // compression would delay events
	r.Header.Set("Cache-Control", "no-store")
	if id := s.resumeID(); id != "" {
		r.Header.Set("Last-Event-ID", id)
	}
	client := *s.HTTPClient
	client.Timeout = 0 // a stream has no end
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	switch {
	case answer.StatusCode == http.StatusOK && kind == "text/event-stream":
		return answer.Body, nil
	case answer.StatusCode == http.StatusOK:
		err = fmt.Errorf("unexpected response from /revocations: content type %q, expected text/event-stream", kind)
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		err = fmt.Errorf("%w (status %d)", errRefused, answer.StatusCode)
	default:
		seconds, _ := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 16)
		err = busyError{answer.StatusCode, time.Duration(seconds) * time.Second}
		s.mu.Lock()
		s.lastEventID = "" // it may be the reason; the next stream begins with a full snapshot
		s.mu.Unlock()
	}
	answer.Body.Close()
	return nil, err
}

// resumeID returns the event id to resume after, or an empty string for a full
// snapshot.
func (s *feedStream) resumeID() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !isQuotable(s.lastEventID) {
		return "" // not a valid header value
	}
	return s.lastEventID
}

// closeWhenSilent ends a stream that gives no sign of life: its connection may
// be gone without either side having noticed.
func (s *feedStream) closeWhenSilent(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(feedCheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now := s.Now(); elapsed(s.openedAt, now) >= feedSilence && s.checkCurrent(now) != nil {
				end(errSilent)
				return
			}
		}
	}
}
