package latchkey

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// The first and the longest pause between two attempts.
const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 2 * time.Second
)

// insist makes attempts until one is answered, for at most the retry window.
// What is no answer ([ErrUnavailable]) is tried again: early at first, since the
// server's window is open for seconds only.
func (c *Client) insist(ctx context.Context, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.window)
	defer cancel()
	for n := 0; ; n++ {
		err := within(ctx, c.window/3, attempt)
		if err == nil || !errors.Is(err, ErrUnavailable) || isMissing(err) {
			return err
		}
		pause := time.NewTimer(pauseAfter(n, wait(err)))
		if end, _ := ctx.Deadline(); wait(err) > time.Until(end) {
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

// isMissing says that there is no such endpoint where the issuer should be. That
// says nothing about a session either, but does not change within seconds.
func isMissing(err error) bool {
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

func within(ctx context.Context, d time.Duration, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return attempt(ctx)
}

// pauseAfter is the pause after attempt n: twice the last, with half of it left
// to chance, so that clients that failed together do not come back together.
func pauseAfter(n int, asked time.Duration) time.Duration {
	pause := min(longestBackoff, firstBackoff<<min(n, 10))
	return asked + pause/2 + rand.N(pause/2)
}
