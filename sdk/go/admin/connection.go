package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

const (
	basePath = "/admin/v1"
	// requestTimeout bounds each attempt of a request that is not a stream.
	requestTimeout = time.Minute
	// maxResponse bounds the responses that are not streams.
	maxResponse = 64 << 20
)

const (
	jsonType    = "application/json"
	patchType   = "application/merge-patch+json"
	yamlType    = "application/yaml"
	problemType = "application/problem+json"
)

// connection sends requests with the key.
type connection struct {
	base      string
	authorize func(*http.Request) // adds the key; fmt cannot print what a function holds
	http      *http.Client        // does not follow redirects
	window    time.Duration
}

// request is a request before it is sent.
type request struct {
	method string
	path   []string // segments, not escaped
	query  url.Values
	header http.Header
	kind   string // media type of the body
	body   []byte
	repeat bool // a second request changes nothing, so it may be retried
	remove bool // a deletion without a result: 404 after a retry means success
}

// tenantPath returns the path of an object in a tenant.
func tenantPath(tenant string, rest ...string) []string {
	return append([]string{"tenants", tenant}, rest...)
}

// url returns the URL of a request. An id may contain any character, including a
// slash.
func (c *connection) url(r request) (string, error) {
	var b strings.Builder
	b.WriteString(c.base)
	for _, segment := range r.path {
		switch segment {
		case "":
			return "", errors.New("latchkey: an id is empty")
		case ".", "..": // proxies would resolve them
			segment = strings.ReplaceAll(segment, ".", "%2E")
		default:
			segment = url.PathEscape(segment)
		}
		b.WriteString("/" + segment)
	}
	if query := r.query.Encode(); query != "" {
		b.WriteString("?" + query)
	}
	return b.String(), nil
}

// call sends a request with body as JSON, unless body is nil. It decodes the response
// into into, unless into is nil.
func (c *connection) call(ctx context.Context, r request, body, into any) (http.Header, error) {
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("latchkey: encode the request: %w", err)
		}
		if r.body = text; r.kind == "" {
			r.kind = jsonType
		}
	}
	text, header, err := c.send(ctx, r)
	if err != nil || into == nil {
		return header, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return nil, fmt.Errorf("%w: invalid JSON in the response from %s: %w", latchkey.ErrUnavailable, c.name(r), err)
	}
	return header, nil
}

// attempt sends a request once, with a timeout.
func (c *connection) attempt(ctx context.Context, r request) (text []byte, header http.Header, err error) {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := c.open(limited, r, c.http)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	if text, err = wire.ReadUpTo(answer.Body, maxResponse); err != nil {
		return nil, nil, &noResponse{fmt.Errorf("read the response from %s: %w", c.name(r), err)}
	}
	return text, answer.Header, nil
}

// open sends a request once and returns a response of status 2xx, whose body the
// caller closes.
func (c *connection) open(ctx context.Context, r request, by *http.Client) (*http.Response, error) {
	to, err := c.url(r)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	q, err := http.NewRequestWithContext(ctx, r.method, to, body)
	if err != nil {
		return nil, fmt.Errorf("latchkey: %w", err)
	}
	for name, values := range r.header {
		q.Header[name] = values
	}
	if r.body != nil {
		q.Header.Set("Content-Type", r.kind)
	}
	if q.Header.Get("Accept") == "" {
		q.Header.Set("Accept", jsonType)
	}
	c.authorize(q)
	answer, err := by.Do(q)
	if err != nil {
		return nil, &noResponse{err}
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer answer.Body.Close()
	text, _ := wire.ReadUpTo(answer.Body, wire.MaxDocument) // without its text, responseError reports the status
	return nil, c.responseError(r, answer, text)
}

// responseError returns the error of a response: the problem (RFC 9457) that the
// server has written, or unexpectedResponse if there is none.
func (c *connection) responseError(r request, answer *http.Response, text []byte) error {
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	var problem struct {
		Code   string           `json:"code"`
		Detail string           `json:"detail"`
		Errors []latchkey.Fault `json:"errors"`
	}
	wait := retryAfter(answer.Header, time.Now())
	if kind != problemType || json.Unmarshal(text, &problem) != nil || problem.Code == "" {
		return &unexpectedResponse{c.name(r), answer.StatusCode, wait}
	}
	return &latchkey.Error{StatusCode: answer.StatusCode, Code: problem.Code, Description: problem.Detail, Faults: problem.Errors, RetryAfter: wait}
}

// name returns the method and the path of a request, for errors.
func (c *connection) name(r request) string {
	return r.method + " " + basePath + "/" + strings.Join(r.path, "/")
}

// noResponse is the error of a request that got no complete response.
type noResponse struct{ cause error }

// Error implements error.
func (e *noResponse) Error() string { return "latchkey: " + e.cause.Error() }

// Unwrap returns the cause.
func (e *noResponse) Unwrap() error { return e.cause }

// Is reports that the error matches [latchkey.ErrUnavailable].
func (e *noResponse) Is(target error) bool { return target == latchkey.ErrUnavailable }

// unexpectedResponse is the error for a response that the admin API does not send, such
// as the error page of a proxy.
type unexpectedResponse struct {
	request string
	status  int
	after   time.Duration
}

// Error implements error.
func (e *unexpectedResponse) Error() string {
	return fmt.Sprintf("latchkey: unexpected response to %s: status %d, which is not from the admin API; check the server's URL and the proxies in front of it", e.request, e.status)
}

// Is reports whether the error matches [latchkey.ErrUnavailable].
func (e *unexpectedResponse) Is(target error) bool {
	return target == latchkey.ErrUnavailable && (e.status >= http.StatusInternalServerError || e.status == http.StatusTooManyRequests)
}

// retryAfter returns the value of Retry-After (RFC 9110 §10.2.3), which is in
// seconds or a date. 0: none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
