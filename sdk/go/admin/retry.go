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

// send sends a request. If the request may be repeated, it retries temporary errors
// within the retry window.
func (c *connection) send(ctx context.Context, r request) (text []byte, header http.Header, err error) {
	end := time.Now().Add(c.window)
	for n := 0; ; n++ {
		text, header, err = c.attempt(ctx, r)
		if n > 0 && r.remove && statusOf(err) == http.StatusNotFound {
			return nil, nil, nil // an earlier attempt has removed it
		}
		if err == nil || !r.repeat || !isTemporary(err) {
			return text, header, err
		}
		pause := delay(n, err)
		if time.Now().Add(pause).After(end) || !sleep(ctx, pause) {
			return nil, nil, err
		}
	}
}

// isTemporary reports whether a retry may succeed.
func isTemporary(err error) bool {
	var none *noResponse
	if errors.As(err, &none) {
		return !errors.Is(err, context.Canceled)
	}
	switch statusOf(err) {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// statusOf returns the HTTP status of an error, or 0 if it has none.
func statusOf(err error) int {
	code, _ := statusAndWait(err)
	return code
}

// statusAndWait returns the HTTP status of an error and the value of Retry-After.
func statusAndWait(err error) (status int, after time.Duration) {
	var refusal *latchkey.Error
	var unexpected *unexpectedResponse
	switch {
	case errors.As(err, &refusal):
		return refusal.StatusCode, refusal.RetryAfter
	case errors.As(err, &unexpected):
		return unexpected.status, unexpected.after
	}
	return 0, 0
}

// delay returns the pause after attempt n.
func delay(n int, err error) time.Duration {
	_, after := statusAndWait(err)
	return after + wire.Backoff(n, firstBackoff, longestBackoff)
}

// sleep waits. It returns false at once if the context ends.
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
