package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// The first and the longest pause between two attempts.
const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 2 * time.Second
)

// send sends a request, and repeats it within the retry window if that is
// harmless.
func (c *connection) send(ctx context.Context, r request) (text []byte, header http.Header, err error) {
	end := time.Now().Add(c.window)
	for n := 0; ; n++ {
		text, header, err = c.attempt(ctx, r)
		if n > 0 && r.remove && status(err) == http.StatusNotFound {
			return nil, nil, nil // an attempt before has removed it
		}
		if err == nil || !r.repeat || !passing(err) {
			return text, header, err
		}
		pause := delay(n, err)
		if time.Now().Add(pause).After(end) || !sleep(ctx, pause) {
			return nil, nil, err
		}
	}
}

// passing reports whether an error may be gone a moment later.
func passing(err error) bool {
	var none *noResponse
	if errors.As(err, &none) {
		return !errors.Is(err, context.Canceled)
	}
	switch status(err) {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// status returns the HTTP status of an error, or 0 if it has no status.
func status(err error) int {
	code, _ := response(err)
	return code
}

// response returns the HTTP status of an error, and how long the server asked to
// wait.
func response(err error) (status int, after time.Duration) {
	var refusal *latchkey.Error
	var strange *unexpected
	switch {
	case errors.As(err, &refusal):
		return refusal.StatusCode, refusal.RetryAfter
	case errors.As(err, &strange):
		return strange.status, strange.after
	}
	return 0, 0
}

// delay returns the pause after attempt n.
func delay(n int, err error) time.Duration {
	_, after := response(err)
	return after + wire.Backoff(n, firstBackoff, longestBackoff)
}

// sleep waits, and reports whether the context still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}
