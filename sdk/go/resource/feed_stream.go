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
)

// feedStream is an open stream.
type feedStream struct {
	*feed
	openedAt     time.Time // when it was asked for, by our clock
	answeredAt   time.Time // when the answer began
	snapshotSeen bool      // the snapshot has come
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
	err = s.read(newEventReader(body))
	if errors.Is(err, io.EOF) {
		err = errors.New("the server ended the stream")
	}
	return reason(ctx, err)
}

// reason is why the context ended, if it did.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// open asks for the stream. A client that would not hear of all tokens for the
// audience is refused by the server: it would take silence for consent.
func (s *feedStream) open(ctx context.Context) (io.ReadCloser, error) {
	from := s.URL + "/revocations?" + url.Values{"audience": {s.introspector.audience}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	s.Authenticate(r)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Accept-Encoding", "identity") // what compresses also waits for more
	r.Header.Set("Cache-Control", "no-store")
	if id := s.resumeID(); id != "" {
		r.Header.Set("Last-Event-ID", id)
	}
	endless := *s.HTTPClient
	endless.Timeout = 0
	answer, err := endless.Do(r)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	switch {
	case answer.StatusCode == http.StatusOK && kind == "text/event-stream":
		return answer.Body, nil
	case answer.StatusCode == http.StatusOK:
		err = errors.New("the feed is answered with something else than a stream")
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		err = fmt.Errorf("%w: %d", errRefused, answer.StatusCode)
	default:
		seconds, _ := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 16)
		err = busyError{answer.StatusCode, time.Duration(seconds) * time.Second}
		s.mu.Lock()
		s.lastEventID = "" // it may be why; everything is told once more
		s.mu.Unlock()
	}
	answer.Body.Close()
	return nil, err
}

// resumeID is where the last stream ended; empty: at the beginning.
func (s *feedStream) resumeID() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !isQuotable(s.lastEventID) {
		return "" // no header can carry it
	}
	return s.lastEventID
}

// closeWhenSilent ends a stream that has given no sign of life: its connection may be
// gone without anybody having been told.
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
