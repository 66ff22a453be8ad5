package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/ory/fosite"

	"github.com/latchkey/latchkey/models"
)

// Error is a refusal as it goes over the wire: an RFC's code, a sentence for
// the developer, and a cause for the log alone.
type Error struct {
	Code        string // RFC 6749 §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1, RFC 8693 §2.2.2, RFC 9470 §5
	Status      int
	Description string // %x20-21 / %x23-5B / %x5D-7E; never a value of the request
	Cause       error
	RetryAfter  string // seconds
	Bearer      bool   // about a bearer token, and challenged as one
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

func refuse(code, description string) *Error {
	return &Error{Code: code, Status: http.StatusBadRequest, Description: description}
}

// because adds what only the log may know.
func (e *Error) because(cause error) *Error {
	e.Cause = cause
	return e
}

func invalidRequest(description string) *Error { return refuse("invalid_request", description) }
func invalidTarget(description string) *Error  { return refuse("invalid_target", description) }
func invalidScope(description string) *Error   { return refuse("invalid_scope", description) }

// invalidGrant has one text for every reason (CONFORMANCE R-RF-02).
func invalidGrant(cause error) *Error {
	return refuse("invalid_grant", "The refresh token is unknown, used, expired or revoked").because(cause)
}

// invalidClient is one answer to every failed authentication (R-CA-06).
func invalidClient(cause error) *Error {
	return &Error{Code: "invalid_client", Status: http.StatusUnauthorized, Description: "Client authentication failed", Cause: cause}
}

func unavailable(cause error) *Error {
	return &Error{Code: "temporarily_unavailable", Status: http.StatusServiceUnavailable, RetryAfter: "1",
		Description: "The server cannot answer at the moment; try again", Cause: cause}
}

// asError is the one place that maps what went wrong to what is said. What it
// does not know is our fault.
func asError(err error) *Error {
	var own *Error
	var rfc *fosite.RFC6749Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, models.ErrUnavailable), errors.Is(err, errBusy), errors.Is(err, ErrIssuerUnavailable),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable(err)
	case errors.As(err, &rfc):
		return fromFosite(rfc)
	default:
		return &Error{Code: "server_error", Status: http.StatusInternalServerError,
			Description: "The server met an error that it did not expect", Cause: err}
	}
}

// fromFosite keeps fosite's code and its fixed description; its hints may
// repeat what the request said.
func fromFosite(rfc *fosite.RFC6749Error) *Error {
	cause := errors.New(rfc.Reason())
	if rfc.ErrorField == "invalid_client" {
		return invalidClient(cause)
	}
	return &Error{Code: rfc.ErrorField, Status: rfc.CodeField, Description: rfc.DescriptionField, Cause: cause}
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
	call.Outcome, call.Cause = e.Code, e.Cause
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
		Error       string `json:"error,omitempty"`
		Description string `json:"error_description,omitempty"`
	}{e.Code, plainText(e.Description)})
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
