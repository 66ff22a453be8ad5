package bff

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// handle is the value of a cookie: 256 random bits, unrelated to the user.
type handle string

const handleBytes = 32

func newHandle() handle {
	b := make([]byte, handleBytes)
	rand.Read(b) // never fails
	return handle(base64.RawURLEncoding.EncodeToString(b))
}

// afterStepUp returns the handle that replaces h at a step-up. The same client
// token yields it again, so that a browser can repeat its request. Neither h
// alone nor the store yields it.
func (h handle) afterStepUp(clientToken string) handle {
	mac := hmac.New(sha256.New, []byte(h))
	mac.Write([]byte(clientToken))
	return handle(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}

// key returns the handle's key in the store.
func (h handle) key() string {
	digest := sha256.Sum256([]byte(h))
	return base64.RawURLEncoding.EncodeToString(digest[:])
}

// formToken returns a value that proves that a form comes from a page of the
// cookie's session.
func (h handle) formToken() string {
	mac := hmac.New(sha256.New, []byte(h))
	mac.Write([]byte("latchkey/bff/form"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// handle returns the handle in a request's cookie. Two cookies of the name
// count as none: one of them was planted.
func (b *BFF) handle(r *http.Request) (handle, error) {
	if err := b.checkHost(r); err != nil {
		return "", err
	}
	cookies := r.CookiesNamed(b.cookie)
	if len(cookies) != 1 {
		return "", ErrNoSession
	}
	value := cookies[0].Value
	if b.sealer != nil {
		c, err := b.sealer.open(value)
		if err != nil {
			return "", ErrNoSession
		}
		if v := sealedRequestFrom(r); v != nil {
			v.cookie = c
		}
		return c.Handle, nil
	}
	if len(value) != base64.RawURLEncoding.EncodedLen(handleBytes) {
		return "", ErrNoSession
	}
	return handle(value), nil
}

// setCookie sends the cookie of a session. It expires with the session, but the
// store and the server decide whether the session is live.
func (b *BFF) setCookie(w http.ResponseWriter, h handle, t latchkey.Tokens) error {
	value := string(h)
	if b.sealer != nil {
		var err error
		if value, err = b.sealer.seal(h, t); err != nil {
			return err
		}
	}
	b.writeCookie(w, value, max(1, int(t.SessionExpiry.Sub(b.now())/time.Second)))
	return nil
}

// clearCookie deletes the cookie. A browser requires the same attributes.
func (b *BFF) clearCookie(w http.ResponseWriter) { b.writeCookie(w, "", -1) }

func (b *BFF) writeCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: b.cookie, Value: value, MaxAge: maxAge,
		Path: "/", Secure: !b.loopback, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	w.Header().Set("Cache-Control", "no-store")
}

// checkHost rejects other hosts than localhost with the option Loopback: the
// cookie is not protected there.
func (b *BFF) checkHost(r *http.Request) error {
	if !b.loopback || isLoopback(r.Host) {
		return nil
	}
	return fmt.Errorf("%w: the option Loopback serves localhost only", ErrNoSession)
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
