// Package handlers is the HTTP edge: routes, CORS, logs, health and metrics. It
// is the only package that imports gin.
package handlers

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/handlers/console"
	"github.com/latchkey/latchkey/oauth"
)

// Config configures the router.
type Config struct {
	Issuer         string // base URL
	OAuth          *oauth.Server
	Ready          func(context.Context) error // returns why this node cannot serve requests
	Timeout        time.Duration               // bounds everything that a request waits for, except streams; 0: no bound
	TrustedProxies []string                    // addresses and CIDRs whose X-Forwarded-For is used
	Metrics        *Metrics
	Log            *slog.Logger
	Stat           func(tenant, name string) // counts what happened in a tenant; nil: nothing does
	Admin          *admin.Service            // nil: no management
	AdminHere      bool                      // New serves the admin API and the console too; otherwise NewAdmin alone does
	AdminLocal     bool                      // they are served to this machine only, so that they reject foreign host names
	Places         *console.Places           // finds the places of addresses for the console; nil: they are not shown
	Stopping       func() bool               // while it returns true, every response closes its connection; nil: never
	DevIssuer      *oauth.ClientTokenIssuer  // development only: mints client tokens for anybody on this machine
}

// edge is the state that the handlers share.
type edge struct {
	Config
	*proxies
	base    string               // path of the issuer
	hsts    bool                 // responses tell browsers to use only https for this host
	byRoute map[string]*endpoint // by the full path of gin
}

// newEngine returns a router without routes, with what every request passes through.
func newEngine(c Config) (*gin.Engine, *edge, error) {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.RedirectTrailingSlash, r.RedirectFixedPath = false, false
	r.HandleMethodNotAllowed = true
	r.UseRawPath = true                              // an encoded slash does not separate segments
	if err := r.SetTrustedProxies(nil); err != nil { // proxies reads the addresses
		return nil, nil, err
	}
	e := &edge{Config: c, hsts: mayUseHSTS(c.Issuer), base: issuerPath(c.Issuer), byRoute: map[string]*endpoint{}}
	var err error
	if e.proxies, err = parseProxies(c.TrustedProxies, c.Log); err != nil {
		return nil, nil, err
	}
	r.Use(e.closeWhenStopping, e.withTimeout, e.observe, e.recover, e.securityHeaders)
	return r, e, nil
}

// New returns the router. The endpoints of an issuer are in routes.go.
func New(c Config) (http.Handler, error) {
	r, e, err := newEngine(c)
	if err != nil {
		return nil, err
	}
	r.Use(canonicalPath)
	r.NoRoute(notFound)
	r.NoMethod(e.methodNotAllowed)
	if c.Admin != nil && c.AdminHere {
		e.serveAdmin(r)
	}

	public(r, "/healthz", e.alive)
	public(r, "/readyz", e.ready)

	for _, iss := range []*gin.RouterGroup{r.Group(e.base), r.Group(e.base + "/t/:tenant")} {
		for _, p := range endpoints {
			e.register(iss, p)
		}
	}
	// RFC 8414 §3.1 and SSF 1.0 §7.2 put the well-known part before the path of the
	// issuer.
	for document, serve := range map[string]gin.HandlerFunc{
		"/.well-known/openid-configuration": e.metadata, "/.well-known/oauth-authorization-server": e.metadata, "/.well-known/ssf-configuration": e.ssfMetadata,
	} {
		public(r, document+e.base+"/t/:tenant", serve)
		if e.base != "" {
			public(r, document+e.base, serve)
		}
	}

	if c.DevIssuer != nil {
		e.serveDev(r)
	}
	return r, nil
}

// canonicalPath rejects a path with percent-encoding. No path of this server
// needs it, and a proxy with rules by path must see the same tenant as this
// server.
func canonicalPath(c *gin.Context) {
	if strings.Contains(c.Request.URL.EscapedPath(), "%") && !manages(c.Request.URL.Path) {
		notFound(c)
	}
}

// public registers a document that anybody may read.
func public(r gin.IRoutes, path string, handler gin.HandlerFunc) {
	r.GET(path, handler)
	r.HEAD(path, handler)
}

// writeRefusal sends an error of the edge itself, in the format of RFC 6749
// §5.2.
func writeRefusal(c *gin.Context, status int, code string, reason oauth.Reason, description string) {
	c.Header("Cache-Control", "no-store")
	c.Header("Pragma", "no-cache")
	c.Header("Content-Type", "application/json")
	c.AbortWithStatusJSON(status, gin.H{"error": code, "error_description": description, "latchkey_reason": reason})
	c.Set(reasonKey, reason)
}

// notFound sends a 404.
func notFound(c *gin.Context) {
	if manages(c.Request.URL.Path) {
		managementNotFound(c)
		return
	}
	writeRefusal(c, http.StatusNotFound, "not_found", oauth.ReasonNotFound, "Not found")
}

// methodNotAllowed sends a 405. gin has set Allow by then.
func (e *edge) methodNotAllowed(c *gin.Context) {
	if manages(c.Request.URL.Path) {
		managementMethodNotAllowed(c)
		return
	}
	e.allowErrorCORS(c)
	writeRefusal(c, http.StatusMethodNotAllowed, "invalid_request", oauth.ReasonMethodNotAllowed, "Method not allowed; see the Allow header")
}

// issuerPath returns the path of an issuer's URL. Most have none.
func issuerPath(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return u.Path
}

// mayUseHSTS reports whether browsers may be told to use only https for the
// issuer's host. They must not for a name of the local machine, which other
// programs of a developer share.
func mayUseHSTS(issuer string) bool {
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" {
		return false
	}
	host := strings.TrimSuffix(u.Hostname(), ".")
	ip := net.ParseIP(host)
	return host != "localhost" && !strings.HasSuffix(host, ".localhost") && (ip == nil || !ip.IsLoopback())
}

// closeWhenStopping closes each connection after its next response while the
// node stops, so that a proxy does not send a request over a connection that is
// about to be closed.
func (e *edge) closeWhenStopping(c *gin.Context) {
	if e.Stopping != nil && e.Stopping() {
		c.Header("Connection", "close")
	}
}

// securityHeaders sets the security headers of every response (R-BP-09).
func (e *edge) securityHeaders(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if e.hsts {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}
