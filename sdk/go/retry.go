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

// withRetry repeats an operation after errors that wrap ErrUnavailable, for at
// most the retry window. The first pauses are short, because the server's own
// retry window lasts only seconds.
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
			return err // the server asks to wait for longer
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

// isMissingEndpoint reports whether the error means that there is no such
// endpoint: the issuer's URL is wrong. That does not change within seconds.
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
