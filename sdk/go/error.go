package latchkey

import (
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

var (
	// ErrInvalidToken is wrapped by every error that means that a token must not
	// be honoured: a resource server answers 401.
	ErrInvalidToken = wire.ErrInvalidToken
	// ErrUnavailable is wrapped by every error that says nothing about a token or
	// a session, because keys, revocations or the server were out of reach: a
	// resource server answers 503, an app tries again. It never means that a
	// user is signed out.
	ErrUnavailable = wire.ErrUnavailable
)

// Reasons that the SDK itself acts on. docs/errors.md lists all of them.
const (
	ReasonSessionEnded           = "session_ended"
	ReasonSessionTokenUnknown    = "session_token_unknown"
	ReasonRefreshUnknown         = "refresh_unknown"
	ReasonRefreshReused          = "refresh_reused"
	ReasonRefreshSuperseded      = "refresh_superseded"
	ReasonSessionTokenSuperseded = "session_token_superseded"
	ReasonChainMismatch          = "chain_mismatch"
	ReasonSubjectTokenSpent      = "subject_token_spent"
	ReasonOriginNotListed        = "origin_not_listed"
)

// Error is a refusal by the server (RFC 6749 §5.2).
type Error struct {
	StatusCode  int           // of HTTP
	Code        string        // such as invalid_grant
	Reason      string        // one word that never changes its meaning, such as subject_token_expired; see docs/errors.md. Branch on it, not on Description
	EndReason   string        // why the session ended, such as revoked_by_user; empty unless Reason says that it has
	Description string        // for developers, not for users; may be empty
	RetryAfter  time.Duration // what the server asks for; 0: nothing
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("latchkey: %d %s", e.StatusCode, e.Code)
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	if e.Reason == ReasonOriginNotListed {
		text += " (check origins of the client)"
	}
	return text
}

// Is makes faults of the server match [ErrUnavailable], and its refusals of a
// bearer token [ErrInvalidToken].
func (e *Error) Is(target error) bool {
	return target == ErrInvalidToken && e.Code == "invalid_token" || target == ErrUnavailable && (e.StatusCode >= http.StatusInternalServerError || e.StatusCode == http.StatusTooManyRequests)
}
