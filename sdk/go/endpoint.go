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

// endpoint sends a request to an endpoint of the issuer and reads the answer.
//
// Its errors are of two kinds: an [Error] is what the server itself refused, and
// what is only [ErrUnavailable] may have come from anything in between, such as
// a proxy's page or a captive portal's.
type endpoint struct {
	http *http.Client // follows no redirect
	now  func() time.Time
}

// postForm posts a form as a client: by Basic, or, public, by its client_id.
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

// WithUserAgent makes requests with the context carry a User-Agent: that of the
// user's browser, which the list of the user's devices shows, where a back end
// keeps the session for it.
func WithUserAgent(ctx context.Context, userAgent string) context.Context {
	return context.WithValue(ctx, userAgentKey{}, userAgent)
}

// withValue is a copy of a form with one more value.
func withValue(form url.Values, name, value string) url.Values {
	more := url.Values{name: {value}}
	for n, values := range form {
		more[n] = append(more[n], values...)
	}
	return more
}

// send sends a request. JSON is read into `into`; without it, the answer of a
// success must be empty.
func (e endpoint) send(ctx context.Context, method, to string, header http.Header, body io.Reader, into any) error {
	u, err := url.Parse(to)
	if err != nil || !wire.IsSecure(u) {
		return fmt.Errorf("%w: the endpoint %q is not https", ErrUnavailable, to)
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
		return fmt.Errorf("%w: reading %s: %w", ErrUnavailable, u.Path, err)
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
			return fmt.Errorf("%w: reading %s: %w", ErrUnavailable, answer.Request.URL.Path, err)
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

// retryAfter reads the header (RFC 9110 §10.2.3): seconds, or a date. 0: none.
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

// requestedDelay is for how long the server asks to be left alone after an error.
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
