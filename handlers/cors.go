package handlers

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// preflight answers for the origins of all the tenant's clients: which client
// asks is not known yet (CONFORMANCE R-CO-02).
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

// allowedHeaders may be sent by a page: its own, and those that the tracing
// libraries of browsers add to every request. The endpoints read none of the
// latter but traceparent.
var allowedHeaders = strings.Join([]string{
	"Authorization", "Content-Type", "DPoP", "X-Request-Id",
	"traceparent", "tracestate", "baggage", // W3C Trace Context, OpenTelemetry
	"b3", "X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId", "X-B3-Sampled", "X-B3-Flags", // Zipkin
	"sentry-trace", "newrelic", "elastic-apm-traceparent", "uber-trace-id", "X-Amzn-Trace-Id", "Request-Id", "Request-Context",
	"x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-origin", "x-datadog-sampling-priority", "x-datadog-tags",
}, ", ")

// originOf is the origin of the page that sent the request; empty: none. Of two
// headers neither is believed.
func originOf(r *http.Request) string { return strings.Join(r.Header.Values("Origin"), " ") }

// allowOrigin lets a page of a listed origin read the answer: never every
// origin, and never with cookies.
func allowOrigin(h http.Header, origin string, listed interface{ Lists(origin string) bool }) bool {
	h.Add("Vary", "Origin")
	if !listed.Lists(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce, Retry-After, X-Request-Id")
	return true
}

// allowErrorCORS lets a browser read an answer that is given before, or instead
// of, the endpoint's own: the tenant's union counts (CONFORMANCE R-CO-05). The route
// may be unknown by then.
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

// withCORS decides when the answer begins, because by then the client may be
// known: its own origins count, before that those of the whole tenant.
func (e *edge) withCORS(c *gin.Context, call *oauth.Call) http.ResponseWriter {
	if e.noBrowsers(c) {
		return c.Writer
	}
	return &corsWriter{ResponseWriter: c.Writer, origin: call.Origin, call: call}
}

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
