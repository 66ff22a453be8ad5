package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// Error is a refusal as it goes over the wire: an RFC's code, a sentence for
// the developer, and a cause for the log alone.
type Error struct {
	Code        string // RFC 6749 §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1, RFC 8693 §2.2.2, RFC 9470 §5
	Reason      Reason // a word of docs/errors.md
	Status      int
	Description string // %x20-21 / %x23-5B / %x5D-7E; never a value of the request
	RetryAfter  string // seconds
	Bearer      bool   // about a bearer token, and challenged as one

	// EndReason is why the session ended. It is set only where the caller has
	// proved by a token that the session is its own.
	EndReason session.EndReason

	// For the log alone.
	Cause              error
	Expected, Received string // never a secret or a token
}

// Error implements error, for the log.
func (e *Error) Error() string {
	text := e.Code + ": " + e.Description
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap implements errors.Unwrap.
func (e *Error) Unwrap() error { return e.Cause }

func refuse(code string, reason Reason, description string) *Error {
	return &Error{Code: code, Reason: reason, Status: http.StatusBadRequest, Description: description}
}

// withCause adds what only the log may know.
func (e *Error) withCause(cause error) *Error {
	e.Cause = cause
	return e
}

// compare adds, for the log, the value that was expected and the one that came.
func (e *Error) compare(expected, received string) *Error {
	e.Expected, e.Received = expected, received
	return e
}

// ended adds why the session is over, for the session's own client.
func (e *Error) withEndReason(why session.EndReason) *Error {
	e.EndReason = why
	return e
}

func invalidRequest(reason Reason, description string) *Error {
	return refuse("invalid_request", reason, description)
}

func invalidTarget(reason Reason, description string) *Error {
	return refuse("invalid_target", reason, description)
}

func invalidScope(reason Reason, description string) *Error {
	return refuse("invalid_scope", reason, description)
}

// invalidGrant has one description for every reason.
func invalidGrant(reason Reason, cause error) *Error {
	return refuse("invalid_grant", reason, "The refresh token is unknown, used, expired or revoked").withCause(cause)
}

// invalidClient is one answer to every failed authentication (R-CA-06).
func invalidClient(cause error) *Error {
	return &Error{Code: "invalid_client", Reason: ReasonClientAuthentication, Status: http.StatusUnauthorized, Description: "Client authentication failed", Cause: cause}
}

func unavailable(cause error) *Error {
	reason := ReasonUnavailable
	switch {
	case errors.Is(cause, errBusy):
		reason = ReasonServerBusy
	case errors.Is(cause, ErrIssuerUnavailable):
		reason = ReasonIssuerUnavailable
	}
	return &Error{Code: "temporarily_unavailable", Reason: reason, Status: http.StatusServiceUnavailable, RetryAfter: "1",
		Description: "The server is temporarily unavailable; try again", Cause: cause}
}

// misconfigured has no Retry-After: a retry fares no better. The log says once what
// is wrong, and not at each request.
func misconfigured() *Error {
	return &Error{Code: "server_error", Reason: ReasonIssuerMisconfigured, Status: http.StatusInternalServerError,
		Description: "The issuer of the token is misconfigured on this server; the operator of the server must correct its configuration", Cause: ErrIssuerMisconfigured}
}

// overloaded refuses a request that nothing is wrong with.
func overloaded(cause error) *Error {
	e := unavailable(cause)
	e.Description, e.RetryAfter = "The server is busy; try again after the number of seconds in Retry-After", retryAfter()
	return e
}

// asError is the one place that maps what went wrong to what is said. What it
// does not know is our fault.
func asError(err error) *Error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, errBusy):
		return overloaded(err)
	case errors.Is(err, ErrIssuerMisconfigured):
		return misconfigured()
	case errors.Is(err, models.ErrUnavailable), errors.Is(err, ErrIssuerUnavailable),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable(err)
	}
	if e := fromFosite(err); e != nil {
		return e
	}
	return &Error{Code: "server_error", Reason: ReasonServerError, Status: http.StatusInternalServerError,
		Description: "The server encountered an unexpected condition", Cause: err}
}

// plainText keeps the characters that RFC 6749 §5.2 allows.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// maxLogged bounds a value from a request in a line of the log, in bytes.
const maxLogged = 300

// tokenLike is a run of characters that is long enough to be a secret or to be
// part of a token. A UUID is shorter.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9_+-]{40,}`)

// hostLabel is a part of a host name. Tokens in base64 have upper case.
var hostLabel = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// forLog shortens a value that may come from a stranger. Anybody can send a
// token in the wrong parameter: the log must not have it whole.
func forLog(value string) string {
	if len(value) > maxLogged {
		value = strings.ToValidUTF8(value[:maxLogged], "") + "..."
	}
	value = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // among them what turns the direction of a line of the log
			return unicode.ReplacementChar
		}
		return r
	}, value)
	return tokenLike.ReplaceAllStringFunc(value, func(run string) string {
		if hostLabel.MatchString(run) && strings.Contains(run, "-") {
			return run // such as that of a preview: my-app-git-some-branch
		}
		return run[:6] + "..."
	})
}

// challenge tells how to authenticate: RFC 6750 §3 for a user, RFC 7617 for a
// client. Empty: the answer is none of that.
func (e *Error) challenge(issuer string) string {
	realm := `realm="` + issuer + `"`
	switch {
	case e.Bearer && e.Code == "":
		return "Bearer " + realm
	case e.Bearer:
		return "Bearer " + realm + `, error="` + e.Code + `", error_description="` + plainText(e.Description) + `"`
	case e.Status == http.StatusUnauthorized:
		return "Basic " + realm
	default:
		return ""
	}
}

// writeError answers with a refusal (RFC 6749 §5.2).
func (s *Server) writeError(w http.ResponseWriter, call *Call, err error) {
	e := asError(err)
	call.Outcome, call.Reason, call.Cause = e.Code, e.Reason, e.Cause
	call.Expected, call.Received = forLog(e.Expected), forLog(e.Received)
	call.Overload = errors.Is(err, errBusy)
	if call.Cause == nil {
		call.Cause = errors.New(e.Description) // a sentence of ours, without a value of the request
	}
	h := w.Header()
	if challenge := e.challenge(call.Tenant.Issuer); challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
	if e.RetryAfter != "" {
		h.Set("Retry-After", e.RetryAfter)
	}
	writeJSON(w, e.Status, struct {
		Error       string            `json:"error,omitempty"`
		Description string            `json:"error_description,omitempty"`
		Reason      Reason            `json:"latchkey_reason,omitempty"`
		EndReason   session.EndReason `json:"latchkey_end_reason,omitempty"`
	}{e.Code, plainText(e.Description), e.Reason, e.EndReason})
}

// writeJSON answers with a document that nobody may keep.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(status)
	w.Write(body)
}
