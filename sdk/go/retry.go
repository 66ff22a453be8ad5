package latchkey

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// The first and the longest pause between two attempts.
const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 2 * time.Second
)

// withRetry makes attempts until one is answered, for at most the retry window.
// What is no answer ([ErrUnavailable]) is tried again: early at first, since the
// server's window is open for seconds only.
func (c *Client) withRetry(ctx context.Context, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.retryWindow)
	defer cancel()
	for n := 0; ; n++ {
		err := withTimeout(ctx, c.retryWindow/3, attempt)
		if err == nil || !errors.Is(err, ErrUnavailable) || isMissingEndpoint(err) {
			return err
		}
		pause := time.NewTimer(retryDelay(n, requestedDelay(err)))
		if end, _ := ctx.Deadline(); requestedDelay(err) > time.Until(end) {
			pause.Stop()
			return err // the server has said that it is of no use
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

// isMissingEndpoint says that there is no such endpoint where the issuer should be. That
// says nothing about a session either, but does not change within seconds.
func isMissingEndpoint(err error) bool {
	var refusal *Error
	var strange *wire.UnexpectedResponse
	status := 0
	switch {
	case errors.As(err, &refusal):
		status = refusal.StatusCode
	case errors.As(err, &strange):
		status = strange.StatusCode
	}
	return status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented
}

func withTimeout(ctx context.Context, d time.Duration, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return attempt(ctx)
}

// retryDelay returns the pause after attempt n, in addition to what the server
// asked for.
func retryDelay(n int, asked time.Duration) time.Duration {
	return asked + wire.Backoff(n, firstBackoff, longestBackoff)
}
