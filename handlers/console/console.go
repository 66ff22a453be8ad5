// Package console serves the pages with which operators manage a deployment in a
// browser. A page calls the operations of package admin with the admin key that the
// operator has signed in with, so that it can do what the admin API does, and nothing
// else. The package stores only who is signed in.
package console

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/handlers/admin"
)

// basePath begins the path of every page.
const basePath = "/console"

// Config configures the console.
type Config struct {
	Admin    *admin.Service
	ClientIP func(*http.Request) string // returns the address of the client that sent a request
	Log      *slog.Logger
	Places   *Places // finds the places of addresses; nil: they are not shown
	Dev      bool    // serve the page that shows every component

	// Mint issues a client token for anybody, in development only; nil: the tenant's
	// internal issuer does.
	Mint func(sub string, amr []string, claims map[string]any) (string, error)
}

// console serves the pages.
type console struct{ Config }

// Register adds the pages to a router.
func Register(r *gin.Engine, c Config) {
	k := &console{c}
	group := r.Group(basePath, k.headers, readable)
	group.GET("/static/:file", serveStatic)
	group.HEAD("/static/:file", serveStatic)
	group.GET("/sign-in", k.signInPage)
	group.POST("/sign-in", k.guard, k.signIn)
	group.POST("/sign-out", k.guard, k.signOut)
	group.GET("", k.signedIn(route{serve: (*visit).home}))
	for _, p := range routes {
		if p.dev && !c.Dev {
			continue
		}
		handlers := []gin.HandlerFunc{k.signedIn(p)}
		if p.method == http.MethodPost {
			handlers = append([]gin.HandlerFunc{k.guard}, handlers...)
		}
		group.Handle(p.method, p.path, handlers...)
	}
}

// Serves reports whether a path belongs to the console.
func Serves(path string) bool { return path == basePath || strings.HasPrefix(path, basePath+"/") }

// Streams reports whether the responses of a route are streams, which have no time
// limit.
func Streams(route string) bool {
	return strings.HasPrefix(route, basePath+"/") && (strings.HasSuffix(route, "/stream") || strings.HasSuffix(route, "/export"))
}

// contentSecurityPolicy is the policy of every page: it runs and loads only what the
// server itself serves.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// headers sets the security headers of a page. The browser must send Origin with a form,
// which it does not under the policy no-referrer of other routes.
func (k *console) headers(c *gin.Context) { setHeaders(c) }

func setHeaders(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
