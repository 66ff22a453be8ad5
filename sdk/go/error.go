package latchkey

import (
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

var (
	// ErrInvalidToken is wrapped by every error that means that a token must
	// not be accepted: a resource server answers 401.
	ErrInvalidToken = wire.ErrInvalidToken
	// ErrUnavailable is wrapped by every error that means that a token or a
	// session could not be checked, because keys, revocations or the server
	// were unreachable: a resource server answers 503, an app tries again. It
	// never means that a user is signed out.
	ErrUnavailable = wire.ErrUnavailable
)

// Reasons that the SDK itself acts on. docs/errors.md lists all reasons.
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

// Error is a refusal by the server (RFC 6749 §5.2), or by its admin API (RFC
// 9457).
type Error struct {
	StatusCode  int           // HTTP status
	Code        string        // OAuth error code, such as invalid_grant; of the admin API its own, such as managed_by_file
	Reason      string        // a stable word, such as subject_token_expired; see docs/errors.md. Branch on it, not on Description
	EndReason   string        // why the session ended, such as revoked_by_user; empty if it has not ended
	Description string        // for developers, not for users; may be empty
	RetryAfter  time.Duration // how long the server asks to wait; 0: not stated
	Faults      []Fault       // of the admin API: each thing that is wrong with the request
}

// Fault is one thing that is wrong with a request to the admin API.
type Fault struct {
	Pointer   string `json:"pointer,omitempty"`   // the member of the body, as a JSON Pointer (RFC 6901)
	Parameter string `json:"parameter,omitempty"` // or the parameter
	Detail    string `json:"detail"`
}

// String returns the place and what is wrong there.
func (f Fault) String() string {
	if place := f.Pointer + f.Parameter; place != "" {
		return place + ": " + f.Detail
	}
	return f.Detail
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
	for _, f := range e.Faults {
		text += "; " + f.String()
	}
	if e.Reason == ReasonOriginNotListed {
		text += " (add the origin to the client's origins)"
	}
	return text
}

// Is reports whether the error matches [ErrUnavailable], for a failure of the
// server, or [ErrInvalidToken], for a rejected bearer token.
func (e *Error) Is(target error) bool {
	return target == ErrInvalidToken && e.Code == "invalid_token" || target == ErrUnavailable && (e.StatusCode >= http.StatusInternalServerError || e.StatusCode == http.StatusTooManyRequests)
}
