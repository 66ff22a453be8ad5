package bff

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// requestHeaders pass from the browser to an upstream. Others are removed:
// upstreams trust many names as set by a proxy (X-Forwarded-For, Remote-User,
// client certificates), and servers that use CGI, WSGI or Rack read
// X_Forwarded_For as X-Forwarded-For.
var requestHeaders = headerSet(
	"Accept", "Accept-Encoding", "Accept-Language",
	"Cache-Control", "Pragma",
	"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Digest", "Repr-Digest", "Digest",
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range",
	"Idempotency-Key", "Last-Event-Id", "Prefer", "User-Agent", "X-Requested-With",
	"Traceparent", "Tracestate", "X-Request-Id", "X-Correlation-Id",
)

// responseHeaders pass from an upstream to the browser. Others are removed: an
// upstream could otherwise control the servers in front (X-Accel-Redirect,
// X-Sendfile, CDN-Cache-Control, Surrogate-Control), or this origin in the
// browser (cookies, CORS, Clear-Site-Data, Alt-Svc, reporting).
var responseHeaders = headerSet(
	"Allow", "Accept-Patch", "Accept-Post", "Accept-Ranges", "Preference-Applied",
	"Cache-Control", "Etag", "Expires", "Last-Modified", "Vary", "Date",
	"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Location", "Content-Range",
	"Content-Digest", "Repr-Digest", "Digest",
	"Location", "Retry-After", "Www-Authenticate", "Deprecation", "Sunset",
	"Ratelimit", "Ratelimit-Policy", "Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset",
	"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "X-Total-Count",
	"Server-Timing", "Traceresponse", "X-Request-Id", "X-Correlation-Id",
)

// neverPass are headers that no option can let through in either direction:
// each carries a credential, frames the message, or is set by the proxy.
var neverPass = headerSet(
	"Authorization", "Proxy-Authorization", "Proxy-Authenticate", "Cookie", "Set-Cookie", "Host",
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", CSRFHeader,
	"X-Accel-Redirect", "X-Sendfile", "X-Content-Type-Options", "Clear-Site-Data",
)

func headerSet(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[textproto.CanonicalMIMEHeaderKey(name)] = true
	}
	return set
}

// withHeaders returns the default set together with the names from an
// upstream's options. It rejects names that may never pass, names with an
// underscore (servers that use CGI read it as a hyphen), and names that are not
// valid.
func withHeaders(defaults map[string]bool, add []string) (map[string]bool, error) {
	set := make(map[string]bool, len(defaults)+len(add))
	for name := range defaults {
		set[name] = true
	}
	for _, name := range add {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if !isHeaderName(name) || neverPass[canonical] {
			return nil, fmt.Errorf("the header %q can never pass", name)
		}
		set[canonical] = true
	}
	return set, nil
}

// isHeaderName reports whether name has letters, digits and hyphens only.
func isHeaderName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	})
}

// keepOnly removes every header that is not in the set.
func keepOnly(h http.Header, allowed map[string]bool) {
	for name := range h {
		if !allowed[name] {
			delete(h, name)
		}
	}
}

// forward prepares the headers of a request for its upstream.
func (up upstream) forward(out *http.Request) {
	keepOnly(out.Header, up.requestHeaders)
	out.Trailer = nil // a trailer could carry another Authorization
}

// answer prepares an upstream's response for the browser.
func (up upstream) answer(a *http.Response) error {
	h := a.Header
	keepOnly(h, up.responseHeaders)
	challenges := slices.DeleteFunc(h.Values("WWW-Authenticate"), func(c string) bool {
		scheme, _, _ := strings.Cut(c, " ")
		return !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "DPoP") // a browser would prompt for a password
	})
	if h.Del("WWW-Authenticate"); len(challenges) > 0 {
		h["Www-Authenticate"] = challenges
	}
	if !isPrivate(h.Values("Cache-Control")) {
		h.Set("Cache-Control", "no-store")
		h.Del("Expires")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	return nil
}

// withoutTrailers returns a copy of a response that never gets trailers: when
// the body ends, the transport adds them to the response that it returned.
func withoutTrailers(a *http.Response) *http.Response {
	copied := *a
	copied.Trailer = nil
	return &copied
}

// finalWriter drops informational responses (1xx) of an upstream, because their
// headers are not filtered.
type finalWriter struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w finalWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Unwrap is for http.ResponseController.
func (w finalWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
