package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// Problem is an error of the admin API (RFC 9457). It never contains a value of the
// request.
type Problem struct {
	Title  string  `json:"title" doc:"The status in words"`
	Status int     `json:"status" doc:"The HTTP status"`
	Code   string  `json:"code" doc:"A constant for programs: see docs/management.md"`
	Detail string  `json:"detail" doc:"A sentence for people: what went wrong and what to do"`
	Errors []Fault `json:"errors,omitempty" doc:"Every fault of the request"`

	header http.Header
	cause  error // for the log
}

// Fault is one fault of a request.
type Fault struct {
	Pointer   string `json:"pointer,omitempty" doc:"The member of the body, as a JSON Pointer (RFC 6901)"`
	Parameter string `json:"parameter,omitempty" doc:"The parameter of the query or the path"`
	Detail    string `json:"detail" doc:"What is wrong with it"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

func problem(status int, code, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// ErrNotFound is the error for a resource that does not exist and for a resource of
// another tenant, so that a key cannot find out which tenants exist.
var ErrNotFound error = problem(http.StatusNotFound, "not_found", "There is no such resource, or the admin key is not valid for its tenant")

func forbidden(why string) error {
	return problem(http.StatusForbidden, "forbidden", "Not allowed: "+why)
}

func conflict(code, detail string) error { return problem(http.StatusConflict, code, detail) }

func invalid(faults ...Fault) *Problem {
	p := problem(http.StatusBadRequest, "invalid_request", "The request is not valid; errors lists what is wrong")
	p.Errors = faults
	return p
}

func invalidParameter(name, detail string) error {
	return invalid(Fault{Parameter: name, Detail: detail})
}

// invalidBody turns the faults of a document into a problem. `at` is the path at which
// the body begins. A fault outside the body, in a stored resource, has no pointer.
func invalidBody(at string, faults settings.Faults) error {
	list := make([]Fault, 0, len(faults))
	for _, f := range faults {
		if f.Code == settings.FaultManagedByFile {
			return conflict("managed_by_file", "It "+f.Problem)
		}
		fault := Fault{Detail: f.Problem}
		if rest, inside := strings.CutPrefix(f.Path, at); inside {
			fault.Pointer = pointer(rest)
		} else {
			fault.Detail = f.String()
		}
		list = append(list, fault)
	}
	return invalid(list...)
}

// pointer turns a path of the configuration file, such as .claims["a b"][2], into a
// JSON Pointer.
func pointer(path string) string {
	var b strings.Builder
	for path != "" {
		var token string
		switch {
		case strings.HasPrefix(path, `["`):
			quoted, err := strconv.QuotedPrefix(path[1:])
			if err != nil {
				return b.String()
			}
			token, _ = strconv.Unquote(quoted)
			path = strings.TrimPrefix(path[1+len(quoted):], "]")
		case path[0] == '[':
			token, path, _ = strings.Cut(path[1:], "]")
		default:
			path = strings.TrimPrefix(path, ".")
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			token, path = path[:end], path[end:]
		}
		b.WriteString(Pointer(token))
	}
	return b.String()
}

// Pointer returns the JSON Pointer (RFC 6901) of a member inside other members.
func Pointer(path ...string) string {
	var b strings.Builder
	for _, name := range path {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return b.String()
}

// ProblemOf returns the problem for an error of an operation. Its status is 500 if the
// error is a fault of the server, which it does not describe.
func ProblemOf(err error) *Problem { return asProblem(err) }

// asProblem turns any error into a problem. An unknown error is a fault of the server:
// its cause is logged and not shown.
func asProblem(err error) *Problem {
	var p *Problem
	var faults settings.Faults
	var managed *models.ManagedAttributeError
	var tooMany *oauth.TooManyFailuresError
	var issuer *models.UnknownIssuerError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &faults):
		return asProblem(invalidBody("", faults))
	case errors.As(err, &managed):
		return problem(http.StatusConflict, "managed_by_file", capital(managed.Error()))
	case errors.As(err, &issuer):
		return asProblem(invalidParameter("issuer", "is neither the id nor the URL of a trusted issuer of the tenant"))
	case errors.As(err, &tooMany):
		p := problem(http.StatusTooManyRequests, "too_many_failures", "Too many failed authentication attempts from this address; try again after the number of seconds in Retry-After")
		p.header = http.Header{"Retry-After": {strconv.Itoa(int((tooMany.Wait + time.Second - 1) / time.Second))}}
		return p
	case errors.Is(err, oauth.ErrAdminKey):
		return unauthorized(capital(err.Error()))
	case errors.Is(err, models.ErrNotFound):
		return asProblem(ErrNotFound)
	case errors.Is(err, models.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		p := problem(http.StatusServiceUnavailable, "temporarily_unavailable", "The server cannot serve the request at the moment; try again")
		p.header, p.cause = http.Header{"Retry-After": {"1"}}, err
		return p
	}
	p = problem(http.StatusInternalServerError, "server_error", "The server encountered an unexpected condition")
	p.cause = err
	return p
}

func unauthorized(detail string) *Problem {
	p := problem(http.StatusUnauthorized, "unauthorized", detail)
	p.header = http.Header{"Www-Authenticate": {`Bearer realm="latchkey admin"`}}
	return p
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// humaError makes the errors of huma itself: a wrong parameter, or input that it cannot
// read. Its messages contain no values; the values in its details are dropped.
func humaError(status int, message string, errs ...error) huma.StatusError {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	if status >= http.StatusInternalServerError {
		p := problem(http.StatusInternalServerError, "server_error", "The server encountered an unexpected condition")
		p.cause = fmt.Errorf("%s: %w", message, errors.Join(errs...))
		return p
	}
	var faults []Fault
	for _, err := range errs {
		var detail *huma.ErrorDetail
		if !errors.As(err, &detail) {
			continue
		}
		_, name, found := strings.Cut(detail.Location, ".")
		if !found {
			name = detail.Location
		}
		faults = append(faults, Fault{Parameter: name, Detail: detail.Message})
	}
	if status == http.StatusBadRequest {
		return invalid(faults...)
	}
	p := problem(status, "invalid_request", capital(message))
	p.Errors = faults
	return p
}
