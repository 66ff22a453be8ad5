package latchkey

import (
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

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// endpoint sends requests to endpoints of the issuer and reads the responses.
//
// Its errors are of two kinds: an [Error] is a refusal by the server itself. An
// error that only wraps [ErrUnavailable] may come from anything in between,
// such as a proxy or a captive portal.
type endpoint struct {
	http *http.Client // does not follow redirects
	now  func() time.Time
}

// postForm posts a form. The client authenticates with HTTP Basic, or sends its
// client_id if it is public.
func (e endpoint) postForm(ctx context.Context, to string, form url.Values, by wire.Credentials, into any) error {
	header := http.Header{"Content-Type": {formContentType}}
	if by.Secret != "" {
		header.Set("Authorization", by.Basic())
	} else {
		form = withValue(form, "client_id", by.ID)
	}
	return e.send(ctx, http.MethodPost, to, header, strings.NewReader(form.Encode()), into)
}

const formContentType = "application/x-www-form-urlencoded"

type userAgentKey struct{}

// WithUserAgent returns a context whose requests carry a User-Agent. A back end
// passes the one of the user's browser, which is shown in the user's list of
// devices.
func WithUserAgent(ctx context.Context, userAgent string) context.Context {
	return context.WithValue(ctx, userAgentKey{}, userAgent)
}

// withValue returns a copy of a form with one more value.
func withValue(form url.Values, name, value string) url.Values {
	more := url.Values{name: {value}}
	for n, values := range form {
		more[n] = append(more[n], values...)
	}
	return more
}

// send sends a request. A JSON response is decoded into into; if into is nil, a
// successful response must be empty.
func (e endpoint) send(ctx context.Context, method, to string, header http.Header, body io.Reader, into any) error {
	u, err := url.Parse(to)
	if err != nil || !wire.IsSecure(u) {
		return fmt.Errorf("%w: invalid endpoint %q: expected https (http is allowed on loopback only)", ErrUnavailable, to)
	}
	r, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return wire.Unavailable(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Accept", "application/json")
	if agent, ok := ctx.Value(userAgentKey{}).(string); ok {
		r.Header.Set("User-Agent", agent)
	}
	answer, err := e.http.Do(r)
	if err != nil {
		return wire.Unavailable(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, wire.MaxDocument+1))
	if err != nil {
		return fmt.Errorf("%w: read the response from %s: %w", ErrUnavailable, u.Path, err)
	}
	return e.read(answer, text, into)
}

func (e endpoint) read(answer *http.Response, text []byte, into any) error {
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	isJSON := kind == "application/json" && len(text) <= wire.MaxDocument
	success := answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusNoContent
	switch {
	case success && into == nil && len(text) == 0:
		return nil
	case success && into != nil && isJSON:
		if err := json.Unmarshal(text, into); err != nil {
			return fmt.Errorf("%w: invalid JSON in the response from %s: %w", ErrUnavailable, answer.Request.URL.Path, err)
		}
		return nil
	}
	var refusal struct {
		Code        string `json:"error"`
		Reason      string `json:"latchkey_reason"`
		EndReason   string `json:"latchkey_end_reason"`
		Description string `json:"error_description"`
	}
	wait := retryAfter(answer.Header, e.now())
	if !isJSON || answer.StatusCode < 400 || json.Unmarshal(text, &refusal) != nil || refusal.Code == "" {
		return &wire.UnexpectedResponse{Path: answer.Request.URL.Path, StatusCode: answer.StatusCode, RetryAfter: wait}
	}
	return &Error{StatusCode: answer.StatusCode, Code: refusal.Code, Reason: refusal.Reason, EndReason: refusal.EndReason, Description: refusal.Description, RetryAfter: wait}
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

// requestedDelay returns how long the server asked to wait after an error.
func requestedDelay(err error) time.Duration {
	var refusal *Error
	var strange *wire.UnexpectedResponse
	switch {
	case errors.As(err, &refusal):
		return refusal.RetryAfter
	case errors.As(err, &strange):
		return strange.RetryAfter
	}
	return 0
}
