package handlers

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// preflight answers for the origins of all clients of the tenant, because the
// client is not known yet (R-CO-02).
func (e *edge) preflight(methods string) gin.HandlerFunc {
	return func(c *gin.Context) {
		t := tenant(c, e.OAuth.PublicTenant)
		if t == nil {
			return
		}
		h := c.Writer.Header()
		if allowOrigin(h, originOf(c.Request), t) {
			h.Set("Access-Control-Allow-Methods", methods)
			h.Set("Access-Control-Allow-Headers", allowedHeaders)
			h.Set("Access-Control-Max-Age", "600")
		}
		c.Status(http.StatusNoContent)
	}
}

// allowedHeaders are the headers that a page may send: its own, and those that
// tracing libraries of browsers add to every request. The endpoints read none
// of the latter except traceparent.
var allowedHeaders = strings.Join([]string{
	"Authorization", "Content-Type", "DPoP", "X-Request-Id",
	"traceparent", "tracestate", "baggage", // W3C Trace Context, OpenTelemetry
	"b3", "X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId", "X-B3-Sampled", "X-B3-Flags", // Zipkin
	"sentry-trace", "newrelic", "elastic-apm-traceparent", "uber-trace-id", "X-Amzn-Trace-Id", "Request-Id", "Request-Context",
	"x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-origin", "x-datadog-sampling-priority", "x-datadog-tags",
}, ", ")

// originOf returns the origin of the page that sent the request, or an empty
// string. If there are two Origin headers, neither matches.
func originOf(r *http.Request) string { return strings.Join(r.Header.Values("Origin"), " ") }

// allowOrigin allows a page of a listed origin to read the response. It never
// allows all origins, and never cookies.
func allowOrigin(h http.Header, origin string, listed interface{ Lists(origin string) bool }) bool {
	h.Add("Vary", "Origin")
	if !listed.Lists(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce, Retry-After, X-Request-Id")
	return true
}

// allowErrorCORS allows a browser to read a response that is sent before, or
// instead of, that of the endpoint. It accepts the origins of all clients of
// the tenant (R-CO-05). The route may be unknown at this point.
func (e *edge) allowErrorCORS(c *gin.Context) {
	id, path := settings.DefaultTenant, strings.TrimPrefix(c.Request.URL.Path, e.base)
	if rest, named := strings.CutPrefix(path, "/t/"); named {
		id, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	if !slices.ContainsFunc(endpoints, func(p *endpoint) bool {
		return (p.callers == browsers || p.callers == either) && p.matches(path)
	}) {
		return
	}
	if t, err := e.OAuth.PublicTenant(c.Request.Context(), id); err == nil {
		allowOrigin(c.Writer.Header(), originOf(c.Request), t)
	}
}

// withCORS decides about CORS when the response begins, because the client may
// be known by then. If it is, only its own origins are allowed, and otherwise
// those of the whole tenant.
func (e *edge) withCORS(c *gin.Context, call *oauth.Call) http.ResponseWriter {
	if e.noBrowsers(c) {
		return c.Writer
	}
	return &corsWriter{ResponseWriter: c.Writer, origin: call.Origin, call: call}
}

// corsWriter adds the CORS headers before it writes the header of a response.
type corsWriter struct {
	http.ResponseWriter
	origin string
	call   *oauth.Call
}

// WriteHeader implements http.ResponseWriter.
func (w *corsWriter) WriteHeader(status int) {
	if w.call.Client != nil {
		allowOrigin(w.Header(), w.origin, w.call.Client)
	} else {
		allowOrigin(w.Header(), w.origin, w.call.Tenant)
	}
	w.ResponseWriter.WriteHeader(status)
}
