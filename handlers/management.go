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
)

// NewAdmin returns the router of the admin API, for a listener of its own.
func NewAdmin(c Config) (http.Handler, error) {
	if c.Admin == nil {
		return nil, errors.New("no management to serve")
	}
	r, e, err := newEngine(c)
	if err != nil {
		return nil, err
	}
	r.NoRoute(admin.NotFound)
	r.NoMethod(admin.MethodNotAllowed)
	e.serveAdmin(r)
	return r, nil
}

// serveAdmin adds the routes of the admin API.
func (e *edge) serveAdmin(r *gin.Engine) {
	r.Use(e.localHost)
	admin.Register(r, e.Admin, e.clientIP)
}

// localHost rejects requests to the admin API of this machine whose host is not one of
// this machine's names: a page may have made a name of its own resolve to a loopback
// address (DNS rebinding).
func (e *edge) localHost(c *gin.Context) {
	if !e.AdminLocal || !admin.Serves(c.Request.URL.Path) || e.isOwnHost(c.Request.Host) {
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
