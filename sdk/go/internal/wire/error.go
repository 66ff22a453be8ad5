package wire

import (
	"errors"
	"fmt"
	"time"
)

// The sentinels of the SDK, which its public packages export.
var (
	ErrInvalidToken = errors.New("invalid token")
	ErrUnavailable  = errors.New("temporarily unavailable")
)

// Unavailable keeps the cause, such as the end of the caller's patience.
func Unavailable(cause error) error { return fmt.Errorf("%w: %w", ErrUnavailable, cause) }

// UnexpectedResponse is one that the server does not give.
type UnexpectedResponse struct {
	Path       string
	StatusCode int
	RetryAfter time.Duration
}

// Error implements error.
func (r *UnexpectedResponse) Error() string {
	return fmt.Sprintf("latchkey: unexpected response from %s: status %d, not an OAuth error", r.Path, r.StatusCode)
}

// Is makes it match [ErrUnavailable].
func (r *UnexpectedResponse) Is(target error) bool { return target == ErrUnavailable }
