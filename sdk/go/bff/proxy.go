package bff

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// Proxy returns a handler that forwards requests to the upstreams, with an
// access token of the session for the upstream's target. The token is refreshed
// when needed. Only headers on a fixed list, and those that the [Upstream]
// adds, pass in either direction; the cookie and the caller's Authorization
// never do. Every request needs the [CSRFHeader], even a GET.
//
// If an upstream rejects an access token as invalid, the session is refreshed
// once, and a request without a body is sent again. The upstream's response to
// the new token is passed on.
//
// The proxy's own responses are JSON with an `error`: 401 login_required if
// there is no session or it has ended (with the latchkey_end_reason that the
// server gave), 403 request_forged, 404 not_found if no
// upstream matches, 502 bad_gateway, and 503 temporarily_unavailable if the
// session could not be refreshed but may still be live.
func (b *BFF) Proxy() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, finish := b.renewCookie(w, r)
		defer finish()
		up, to, ok := b.route(r.URL)
		switch {
		case !ok:
			refuse(w, http.StatusNotFound, "not_found")
			return
		case b.origins.Check(r) != nil || r.Header.Get(CSRFHeader) == "":
			refuse(w, http.StatusForbidden, "request_forged")
			return
		}
		h, s, err := b.find(r)
		if err != nil {
			b.refuseSession(w, r, h, err)
			return
		}
		t, err := b.client.TokenFor(userAgentContext(r), s.Session, up.target)
		if err != nil {
			b.refuseSession(w, r, h, err)
			return
		}
		proxy := httputil.ReverseProxy{
			Transport: upstreamTransport{b, s, up, r, t.AccessToken}, ModifyResponse: up.answer, ErrorLog: slog.NewLogLogger(b.log.Handler(), slog.LevelWarn),
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if failed := (sessionError{}); errors.As(err, &failed) {
					b.refuseSession(w, r, h, failed)
					return
				}
				b.badGateway(w, r, err)
			},
			Rewrite: func(p *httputil.ProxyRequest) {
				to.RawQuery = p.Out.URL.RawQuery // without parameters that cannot be parsed
				p.Out.URL, p.Out.Host = to, to.Host
				up.forward(p.Out)
				p.Out.Header.Set("Authorization", "Bearer "+t.AccessToken)
				p.SetXForwarded()
			},
		}
		proxy.ServeHTTP(finalWriter{w}, r)
	})
}

// refuseSession responds to a request whose session yields no token.
func (b *BFF) refuseSession(w http.ResponseWriter, r *http.Request, h handle, err error) {
	switch {
	case errors.Is(err, latchkey.ErrSessionEnded):
		b.forgetEnded(r, h)
		fallthrough
	case errors.Is(err, ErrNoSession):
		w.Header().Set("WWW-Authenticate", `Cookie realm="session"`) // a 401 has a challenge (RFC 9110 §15.5.2)
		body := map[string]any{"error": "login_required"}
		addEndReason(body, err)
		writeJSON(w, http.StatusUnauthorized, body)
	case errors.Is(err, latchkey.ErrUnavailable):
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "temporarily_unavailable")
	default: // such as invalid_client: the user cannot fix that
		b.log.ErrorContext(r.Context(), "no access token for a session", "error", err)
		refuse(w, http.StatusBadGateway, "bad_gateway")
	}
}

func (b *BFF) badGateway(w http.ResponseWriter, r *http.Request, err error) {
	b.log.WarnContext(r.Context(), "upstream request failed", "error", err)
	refuse(w, http.StatusBadGateway, "bad_gateway")
}
