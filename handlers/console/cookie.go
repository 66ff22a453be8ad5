package console

import (
	"crypto/rand"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/latchkey/latchkey/models"
)

// A browser keeps one cookie for all ports of a host. On this machine, where several
// servers may run, the name therefore contains the port. Safari does not store a Secure
// cookie that it gets over plain HTTP, and no browser a __Host- cookie without Secure.
func cookieName(r *http.Request, name string) string {
	if !isPlain(r) {
		return "__Host-" + name
	}
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		return name + "-" + port
	}
	return name
}

// sessionCookie returns the name of the cookie with the handle of a session.
func sessionCookie(r *http.Request) string { return cookieName(r, "latchkey-console") }

// formCookie returns the name of the cookie that the token of the sign-in form belongs
// to.
func formCookie(r *http.Request) string { return cookieName(r, "latchkey-console-form") }

func readCookie(c *gin.Context, name string) string {
	cookie, err := c.Request.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// setCookie sets a cookie for `life`, or deletes it if the value is empty.
func setCookie(c *gin.Context, name, value string, life time.Duration) {
	cookie := &http.Cookie{
		Name: name, Value: value, Path: "/", Secure: !isPlain(c.Request), HttpOnly: true, SameSite: http.SameSiteStrictMode,
		MaxAge: int(life / time.Second),
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(c.Writer, cookie)
}

// signInToken returns the anti-forgery token of the sign-in form. It gives the browser a
// cookie that the token belongs to, unless it has one.
func signInToken(c *gin.Context) string {
	name := formCookie(c.Request)
	value := readCookie(c, name)
	if value == "" {
		value = rand.Text()
		setCookie(c, name, value, models.ConsoleLifetime)
	}
	return formToken(value)
}
