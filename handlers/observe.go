package handlers

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// observe logs one line and records one measurement for each request. It logs
// the route, but never the URL or a parameter, which may contain a secret.
func (e *edge) observe(c *gin.Context) {
	start := time.Now()
	id := rand.Text()
	c.Header("X-Request-Id", id)
	c.Next()

	route, method, status, took := c.FullPath(), methodName(c.Request.Method), c.Writer.Status(), time.Since(start)
	if route == "" {
		route = "(none)"
	}
	attrs := []any{"request", id, "method", method, "route", route, "status", status, "duration_ms", float64(took.Microseconds()) / 1000, "ip", e.clientIP(c.Request)}
	if trace, span := traceOf(c.Request); trace != "" {
		attrs = append(attrs, "trace_id", trace, "parent_span_id", span)
	}
	grant, outcome := "", ""
	if call := callOf(c); call != nil {
		attrs = append(attrs, "tenant", call.Tenant.ID)
		if call.Client != nil {
			attrs = append(attrs, "client", call.Client.ID)
		}
		if call.FailedClientID != "" {
			attrs = append(attrs, "failed_client_id", call.FailedClientID)
		}
		if call.SessionID != "" {
			attrs = append(attrs, "session", call.SessionID)
		}
		if call.Outcome != "" {
			attrs = append(attrs, "error", call.Outcome)
		}
		for _, value := range []struct{ name, text string }{
			{"reason", string(call.Reason)}, {"expected", call.Expected}, {"received", call.Received},
		} {
			if value.text != "" {
				attrs = append(attrs, value.name, value.text)
			}
		}
		if call.Cause != nil {
			attrs = append(attrs, "cause", call.Cause.Error())
		}
		grant, outcome = call.Grant, call.Outcome
		if name := e.Metrics.call(call); name != "" && e.Stat != nil && !call.Overload {
			e.Stat(call.Tenant.ID, name)
		}
	}
	if reason, refused := c.Get(reasonKey); refused {
		attrs = append(attrs, "reason", reason)
	}
	if len(c.Errors) > 0 {
		attrs = append(attrs, "cause", errors.Join(causes(c)...).Error())
	}
	level := slog.LevelInfo
	switch call := callOf(c); {
	case call != nil && call.Overload:
		level = slog.LevelDebug
	case route == "/readyz" && (e.Stopping != nil && e.Stopping() || starting(c)):
		level = slog.LevelDebug
	case status >= 500 && status != http.StatusNotImplemented: // which is the caller's fault
		level = slog.LevelError
	case refusedOrigin(c): // most often an unlisted page of the operator
		level = slog.LevelWarn
	case route == "/healthz", route == "/readyz":
		level = slog.LevelDebug
	}
	e.Log.Log(c.Request.Context(), level, "request", attrs...)
	e.Metrics.request(route, method, status, took)
	e.Metrics.token(grant, outcome)
}

// starting reports whether the request was refused because the node has just
// been started.
func starting(c *gin.Context) bool {
	return slices.ContainsFunc(c.Errors, func(err *gin.Error) bool { return errors.Is(err, models.ErrStarting) })
}

// refusedOrigin reports whether the request was rejected because of its Origin.
func refusedOrigin(c *gin.Context) bool {
	call := callOf(c)
	return call != nil && call.Reason == oauth.ReasonOriginNotListed
}

var traceparent = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$`)

// traceOf returns the ids of the trace that the request belongs to (W3C Trace
// Context §3.2.2). They are empty if the header is absent or malformed.
func traceOf(r *http.Request) (trace, span string) {
	if len(r.Header.Values("Traceparent")) != 1 {
		return "", ""
	}
	m := traceparent.FindStringSubmatch(r.Header.Get("Traceparent"))
	if m == nil || m[1] == "ff" || m[1] == "00" && m[4] != "" || strings.Trim(m[2], "0") == "" || strings.Trim(m[3], "0") == "" {
		return "", ""
	}
	return m[2], m[3]
}

// causes returns the errors of the request.
func causes(c *gin.Context) []error {
	list := make([]error, len(c.Errors))
	for i, err := range c.Errors {
		list[i] = err.Err
	}
	return list
}

// recover logs a panic and sends a 500.
func (e *edge) recover(c *gin.Context) {
	defer func() {
		if p := recover(); p != nil {
			if err, is := p.(error); is && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			c.Error(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			if !c.Writer.Written() {
				e.allowErrorCORS(c)
				writeRefusal(c, http.StatusInternalServerError, "server_error", oauth.ReasonServerError, "The server encountered an unexpected condition")
			}
		}
	}()
	c.Next()
}
