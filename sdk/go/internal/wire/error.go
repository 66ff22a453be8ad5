package wire

import (
	"errors"
	"fmt"
	"time"
)

// The sentinel errors of the SDK. Package latchkey exports them.
var (
	ErrInvalidToken = errors.New("invalid token")
	ErrUnavailable  = errors.New("temporarily unavailable")
)

// Unavailable wraps a cause, such as the end of the caller's context, in
// ErrUnavailable.
func Unavailable(cause error) error { return fmt.Errorf("%w: %w", ErrUnavailable, cause) }

// UnexpectedResponse is the error for an HTTP response that a Latchkey server
// does not send, such as a proxy's error page.
type UnexpectedResponse struct {
	Path       string
	StatusCode int
	RetryAfter time.Duration
}

// Error implements error.
func (r *UnexpectedResponse) Error() string {
	return fmt.Sprintf("latchkey: unexpected response from %s: status %d, not an OAuth error", r.Path, r.StatusCode)
}

// Is reports that the error matches [ErrUnavailable].
func (r *UnexpectedResponse) Is(target error) bool { return target == ErrUnavailable }
