package latchkey

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

var (
	// ErrInvalidToken is wrapped by every error that means that a token must not
	// be honoured: a resource server answers 401.
	ErrInvalidToken = errors.New("invalid token")
	// ErrUnavailable is wrapped by every error that says nothing about a token or
	// a session, because keys, revocations or the server were out of reach: a
	// resource server answers 503, an app tries again. It never means that a
	// user is signed out.
	ErrUnavailable = errors.New("temporarily unavailable")
)

// Error is a refusal by the server (RFC 6749 §5.2).
type Error struct {
	StatusCode  int           // of HTTP
	Code        string        // such as invalid_grant
	Description string        // for developers, not for users; may be empty
	RetryAfter  time.Duration // what the server asks for; 0: nothing
}

// Error implements error.
func (e *Error) Error() string {
	if e.Description == "" {
		return fmt.Sprintf("latchkey: %d %s", e.StatusCode, e.Code)
	}
	return fmt.Sprintf("latchkey: %d %s: %s", e.StatusCode, e.Code, e.Description)
}

// Is makes faults of the server match [ErrUnavailable], and its refusals of a
// bearer token [ErrInvalidToken].
func (e *Error) Is(target error) bool {
	return target == ErrInvalidToken && e.Code == "invalid_token" || target == ErrUnavailable && (e.StatusCode >= http.StatusInternalServerError || e.StatusCode == http.StatusTooManyRequests)
}
