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
	"github.com/latchkey/latchkey/oauth/issuerkeys"
	"github.com/latchkey/latchkey/session"
)

// Error is a refusal as it is sent to the caller: an error code of an RFC, a
// sentence for the developer, and a cause for the log only.
type Error struct {
	Code        string // RFC 6749 §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1, RFC 8693 §2.2.2, RFC 9470 §5
	Reason      Reason // a word of docs/errors.md
	Status      int
	Description string // %x20-21 / %x23-5B / %x5D-7E; never a value of the request
	RetryAfter  string // seconds
	Bearer      bool   // about a bearer token: the challenge has the scheme Bearer

	// EndReason is why the session ended. It is set only if the caller has
	// presented a token that proves that the session is its own.
	EndReason session.EndReason

	// For the log only.
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

// refuse returns a refusal with the status 400.
func refuse(code string, reason Reason, description string) *Error {
	return &Error{Code: code, Reason: reason, Status: http.StatusBadRequest, Description: description}
}

// withCause adds a cause, which only the log shows.
func (e *Error) withCause(cause error) *Error {
	e.Cause = cause
	return e
}

// compare adds the expected and the received value, which only the log shows.
func (e *Error) compare(expected, received string) *Error {
	e.Expected, e.Received = expected, received
	return e
}

// withEndReason adds why the session ended, for the session's own client.
func (e *Error) withEndReason(why session.EndReason) *Error {
	e.EndReason = why
	return e
}

// invalidRequest returns a refusal with the code invalid_request.
func invalidRequest(reason Reason, description string) *Error {
	return refuse("invalid_request", reason, description)
}

// invalidTarget returns a refusal with the code invalid_target (RFC 8693
// §2.2.2).
func invalidTarget(reason Reason, description string) *Error {
	return refuse("invalid_target", reason, description)
}

// invalidScope returns a refusal with the code invalid_scope.
func invalidScope(reason Reason, description string) *Error {
	return refuse("invalid_scope", reason, description)
}

// invalidGrant returns the refusal of a refresh token. Its description is the
// same for every reason.
func invalidGrant(reason Reason, cause error) *Error {
	return refuse("invalid_grant", reason, "The refresh token is unknown, used, expired or revoked").withCause(cause)
}

// invalidClient returns the refusal of a client's authentication. It is the
// same for every reason (R-CA-06).
func invalidClient(cause error) *Error {
	return &Error{Code: "invalid_client", Reason: ReasonClientAuthentication, Status: http.StatusUnauthorized, Description: "Client authentication failed", Cause: cause}
}

// unavailable returns the refusal of a request that may succeed when it is
// repeated.
func unavailable(cause error) *Error {
	reason := ReasonUnavailable
	switch {
	case errors.Is(cause, errBusy):
		reason = ReasonServerBusy
	case errors.Is(cause, issuerkeys.ErrUnavailable):
		reason = ReasonIssuerUnavailable
	}
	return &Error{Code: "temporarily_unavailable", Reason: reason, Status: http.StatusServiceUnavailable, RetryAfter: "1",
		Description: "The server is temporarily unavailable; try again", Cause: cause}
}

// misconfigured returns a refusal without Retry-After, because a retry does not
// help. The log describes the fault once rather than at each request.
func misconfigured() *Error {
	return &Error{Code: "server_error", Reason: ReasonIssuerMisconfigured, Status: http.StatusInternalServerError,
		Description: "The issuer of the token is misconfigured on this server; the operator of the server must correct its configuration", Cause: ErrIssuerMisconfigured}
}

// overloaded returns the refusal of a valid request for which the server is too
// busy.
func overloaded(cause error) *Error {
	e := unavailable(cause)
	e.Description, e.RetryAfter = "The server is busy; try again after the number of seconds in Retry-After", retryAfter()
	return e
}

// asError maps every error to the refusal that is sent. An error that it does
// not know becomes a server_error.
func asError(err error) *Error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, errBusy):
		return overloaded(err)
	case errors.Is(err, ErrIssuerMisconfigured):
		return misconfigured()
	case errors.Is(err, models.ErrUnavailable), errors.Is(err, models.ErrIndexing), errors.Is(err, issuerkeys.ErrUnavailable),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable(err)
	}
	if e := fromFosite(err); e != nil {
		return e
	}
	return &Error{Code: "server_error", Reason: ReasonServerError, Status: http.StatusInternalServerError,
		Description: "The server encountered an unexpected condition", Cause: err}
}

// plainText removes the characters that RFC 6749 §5.2 does not allow.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// maxLogged is the maximum length in bytes of a request's value in the log.
const maxLogged = 300

// tokenLike matches a run of characters that is long enough to be a secret or
// part of a token. A UUID is shorter.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9_+-]{40,}`)

// hostLabel matches a label of a host name. Tokens in base64url also have
// upper-case letters.
var hostLabel = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// forLog shortens a value that anybody may have sent. It may be a token in the
// wrong parameter, which the log must not contain as a whole.
func forLog(value string) string {
	if len(value) > maxLogged {
		value = strings.ToValidUTF8(value[:maxLogged], "") + "..."
	}
	value = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // this includes characters that reverse the direction of text
			return unicode.ReplacementChar
		}
		return r
	}, value)
	return tokenLike.ReplaceAllStringFunc(value, func(run string) string {
		if hostLabel.MatchString(run) && strings.Contains(run, "-") {
			return run // such as the name of a preview deployment: my-app-git-some-branch
		}
		return run[:6] + "..."
	})
}

// challenge returns the value of WWW-Authenticate: RFC 6750 §3 for a user, RFC
// 7617 for a client. It is empty if the refusal has no challenge.
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

// refused records a refusal for the log, and returns it.
func (c *Call) refused(err error) *Error {
	e := asError(err)
	c.Outcome, c.Reason, c.Cause = e.Code, e.Reason, e.Cause
	c.Expected, c.Received = forLog(e.Expected), forLog(e.Received)
	c.Overload = errors.Is(err, errBusy)
	if c.Cause == nil {
		c.Cause = errors.New(e.Description) // it contains no value of the request
	}
	return e
}

// writeError sends a refusal (RFC 6749 §5.2).
func (s *Server) writeError(w http.ResponseWriter, call *Call, err error) {
	e := call.refused(err)
	s.notice(call)
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

// writeJSON sends a response that must not be cached.
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
