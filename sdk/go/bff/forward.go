package bff

import (
	"net/http"
	"strings"
)

// forward takes from a request what is no upstream's business: the cookie, what
// speaks to the proxy, and what upstreams may believe a proxy in front of them
// to have said. What asks for another protocol goes as well: behind it nobody
// looks at paths and tokens any more.
func forward(out *http.Request) {
	h := out.Header
	for name := range h {
		for _, prefix := range []string{"X-Forwarded-", "X-Original-", "X-Rewrite-"} {
			if strings.HasPrefix(name, prefix) {
				h.Del(name)
			}
		}
	}
	for _, name := range []string{
		"Cookie", Header, "Connection", "Upgrade", "Trailer", "X-Real-Ip", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
	} {
		h.Del(name)
	}
	out.Trailer = nil // it could bring another Authorization
}

// own takes from an upstream's answer what it may say about its own origin and
// not about this one: cookies, among which could be ours; who may read, which
// would let another origin pass its preflight; where else the origin is, and who
// is told of its errors; a browser's own question for a password; and leave to
// share an answer that is one user's.
func own(answer *http.Response) error {
	h := answer.Header
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			h.Del(name)
		}
	}
	for _, name := range []string{
		"Set-Cookie", "Clear-Site-Data", "Alt-Svc", "Strict-Transport-Security", "Service-Worker-Allowed", "Nel", "Report-To", "Reporting-Endpoints",
	} {
		h.Del(name)
	}
	var challenges []string
	for _, c := range h.Values("WWW-Authenticate") {
		if scheme, _, _ := strings.Cut(c, " "); strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP") {
			challenges = append(challenges, c)
		}
	}
	h.Del("WWW-Authenticate")
	for _, c := range challenges {
		h.Add("WWW-Authenticate", c)
	}
	if !unshared(h.Values("Cache-Control")) {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	answer.Trailer = nil
	return nil
}

// unshared says whether an answer may be kept by the browser alone, or by nobody.
// With an argument `private` is about single headers (RFC 9111 §5.2.2.7).
func unshared(control []string) bool {
	for directive := range strings.SplitSeq(strings.Join(control, ","), ",") {
		directive = strings.ToLower(strings.TrimSpace(directive))
		if directive == "private" || directive == "no-store" {
			return true
		}
	}
	return false
}

// finalWriter lets no informational answer of an upstream pass, whose headers
// nobody has looked at.
type finalWriter struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w finalWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Unwrap is for http.ResponseController.
func (w finalWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
