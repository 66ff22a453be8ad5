package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

// maxForm bounds the body of a form.
const maxForm = 256 << 10

// tokenField is the field of a form that contains its anti-forgery token.
const tokenField = "form_token"

// guard rejects a form that a page of another origin may have sent, and a form that
// cannot be read. The browser sends Origin with every form; a page in a sandbox sends
// null.
func (k *console) guard(c *gin.Context) {
	r := c.Request
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" || !sameOrigin(r) {
		refuse(c, http.StatusForbidden, "The form was rejected", "It does not come from a page of this console. Open the console by its own address, and send the form again. A proxy in front of the console must forward the Host header unchanged.")
		return
	}
	if c.ContentType() != "application/x-www-form-urlencoded" {
		refuse(c, http.StatusUnsupportedMediaType, "The form was rejected", "Its Content-Type must be application/x-www-form-urlencoded.")
		return
	}
	r.Body = http.MaxBytesReader(c.Writer, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			refuse(c, http.StatusRequestEntityTooLarge, "The form was rejected", "It is larger than 256 KiB.")
			return
		}
		refuse(c, http.StatusBadRequest, "The form was rejected", "It could not be read.")
		return
	}
	for name, values := range r.PostForm {
		for _, v := range append(values, name) {
			if !storable(v) {
				refuse(c, http.StatusBadRequest, "The form was rejected", "It must be UTF-8 without NUL.")
				return
			}
		}
	}
	handle := readCookie(c, sessionCookie(r))
	if c.FullPath() == basePath+"/sign-in" {
		handle = readCookie(c, formCookie(r))
	}
	if handle == "" || subtle.ConstantTimeCompare([]byte(formToken(handle)), []byte(r.PostForm.Get(tokenField))) != 1 {
		refuse(c, http.StatusForbidden, "The form is out of date", "You have signed in or out since the page was loaded, or the browser does not accept cookies. Go back, reload the page, and send the form again.")
	}
}

// readable rejects a path and a query with text that a database cannot store, and a
// query that cannot be read: without the filter that it meant, a search or an export
// would find more than the operator asked for.
func readable(c *gin.Context) {
	ok := storable(c.Request.URL.Path)
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	for name, values := range query {
		for _, v := range append(values, name) {
			ok = ok && storable(v)
		}
	}
	if !ok || err != nil {
		refuse(c, http.StatusBadRequest, "The address is not valid", "It must be percent-encoded UTF-8 without NUL.")
	}
}

// storable reports whether every database can store a text.
func storable(text string) bool { return !strings.ContainsRune(text, 0) && utf8.ValidString(text) }

// sameOrigin reports whether Origin is the origin that the request is sent to.
func sameOrigin(r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) != 1 {
		return false
	}
	origin, err := url.Parse(values[0])
	if err != nil || origin.Host == "" || !strings.EqualFold(origin.Host, r.Host) {
		return false
	}
	if isPlain(r) {
		return origin.Scheme == "http"
	}
	return origin.Scheme == "https"
}

// isPlain reports whether the browser uses plain HTTP, which it may only on the machine
// of the server. Elsewhere, the server or a proxy in front of it has a certificate.
func isPlain(r *http.Request) bool {
	if r.TLS != nil {
		return false
	}
	name := r.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && ip.IsLoopback()
}

// formToken returns the anti-forgery token of the forms of a browser. Only the server
// can compute it from the cookie, which no script can read.
func formToken(handle string) string {
	sum := sha256.Sum256([]byte("latchkey console form\x00" + handle))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
