package bff

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// Proxy forwards requests to the upstreams with an access token of their session
// for the upstream's target, which it refreshes when needed. Only headers on a
// fixed list, and those that the [Upstream] adds, pass in either direction; the
// cookie and the caller's Authorization never do. Every request needs the
// [CSRFHeader], reading ones too.
//
// When an upstream refuses an access token as invalid, the session is refreshed
// once, and a request without a body is sent again. What the upstream says of the
// fresh token passes.
//
// Its own answers are JSON with an `error`: 401 login_required without a session
// or when it has ended, 403 request_forged, 404 not_found for what no upstream
// serves, 502 bad_gateway, and 503 temporarily_unavailable while the session can
// not be refreshed, which does not mean that it is over.
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
				to.RawQuery = p.Out.URL.RawQuery // without what cannot be parsed
				p.Out.URL, p.Out.Host = to, to.Host
				up.forward(p.Out)
				p.Out.Header.Set("Authorization", "Bearer "+t.AccessToken)
				p.SetXForwarded()
			},
		}
		proxy.ServeHTTP(finalWriter{w}, r)
	})
}

// refuseSession answers a request whose session gives no token.
func (b *BFF) refuseSession(w http.ResponseWriter, r *http.Request, h handle, err error) {
	switch {
	case errors.Is(err, latchkey.ErrSessionEnded):
		b.forgetEnded(r, h)
		fallthrough
	case errors.Is(err, ErrNoSession):
		w.Header().Set("WWW-Authenticate", `Cookie realm="session"`) // a 401 has a challenge (RFC 9110 §15.5.2)
		refuse(w, http.StatusUnauthorized, "login_required")
	case errors.Is(err, latchkey.ErrUnavailable):
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "temporarily_unavailable")
	default: // such as invalid_client: nothing that the user can do anything about
		b.log.ErrorContext(r.Context(), "no access token for a session", "error", err)
		refuse(w, http.StatusBadGateway, "bad_gateway")
	}
}

func (b *BFF) badGateway(w http.ResponseWriter, r *http.Request, err error) {
	b.log.WarnContext(r.Context(), "an upstream does not answer", "error", err)
	refuse(w, http.StatusBadGateway, "bad_gateway")
}
