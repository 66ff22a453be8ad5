package handlers

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/handlers/console"
)

// NewAdmin returns the router of the admin API and the console, for a listener of its
// own.
func NewAdmin(c Config) (http.Handler, error) {
	if c.Admin == nil {
		return nil, errors.New("no management to serve")
	}
	r, e, err := newEngine(c)
	if err != nil {
		return nil, err
	}
	r.NoRoute(managementNotFound)
	r.NoMethod(managementMethodNotAllowed)
	e.serveAdmin(r)
	return r, nil
}

// serveAdmin adds the routes of the admin API and of the console.
func (e *edge) serveAdmin(r *gin.Engine) {
	r.Use(e.localHost)
	admin.Register(r, e.Admin, e.clientIP)
	c := console.Config{Admin: e.Admin, ClientIP: e.clientIP, Log: e.Log, Places: e.Places, Dev: e.DevIssuer != nil}
	if e.DevIssuer != nil {
		c.Mint = e.DevIssuer.Mint
	}
	console.Register(r, c)
}

// manages reports whether a path belongs to the admin API or to the console.
func manages(path string) bool { return admin.Serves(path) || console.Serves(path) }

// managementNotFound sends the 404 of the admin API or of the console.
func managementNotFound(c *gin.Context) {
	if console.Serves(c.Request.URL.Path) {
		console.NotFound(c)
		return
	}
	admin.NotFound(c)
}

// managementMethodNotAllowed sends the 405 of the admin API or of the console.
func managementMethodNotAllowed(c *gin.Context) {
	if console.Serves(c.Request.URL.Path) {
		console.MethodNotAllowed(c)
		return
	}
	admin.MethodNotAllowed(c)
}

// localHost rejects requests to the admin API or the console of this machine whose host
// is not one of this machine's names: a page may have made a name of its own resolve to
// a loopback address (DNS rebinding).
func (e *edge) localHost(c *gin.Context) {
	path := c.Request.URL.Path
	if !e.AdminLocal || !manages(path) || e.isOwnHost(c.Request.Host) {
		return
	}
	if console.Serves(path) {
		console.ForeignHost(c)
		return
	}
	admin.ForeignHost(c)
}

// isOwnHost reports whether a Host header names this machine, or the issuer.
func (e *edge) isOwnHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if ip, err := netip.ParseAddr(name); name == "localhost" || err == nil && ip.IsLoopback() {
		return true
	}
	issuer, err := url.Parse(e.Issuer)
	return err == nil && strings.EqualFold(issuer.Host, host)
}
