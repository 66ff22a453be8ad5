package bff

import (
	"crypto/subtle"
	"net/http"
)

// The proofs that a request comes from a page of the app.
const (
	// CSRFHeader is sent by scripts, with any value. A page of another origin
	// cannot add it without a CORS preflight, which is not granted.
	CSRFHeader = "Latchkey-CSRF"
	// CSRFFormField is sent by forms, with the value of [BFF.CSRFToken].
	CSRFFormField = "latchkey_csrf"
)

// maxForm bounds a form that is read for its token.
const maxForm = 1 << 20

// Protect rejects requests that a page of another site may have made a browser
// send, with 403.
//
// Requests with a method other than GET, HEAD and OPTIONS need the [CSRFHeader]
// or the [CSRFFormField] if they carry the cookie. If they have an Origin or
// Sec-Fetch-Site header, it must name this origin. Requests without the cookie,
// such as the one that signs in, only need the latter.
func (b *BFF) Protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, finish := b.renewCookie(w, r)
		defer finish()
		if b.origins.Check(r) != nil || !isSafe(r.Method) && len(r.CookiesNamed(b.cookie)) > 0 && !b.fromOwnPage(w, r) {
			refuse(w, http.StatusForbidden, "request_forged")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// CSRFToken returns the value of a form's hidden [CSRFFormField], for pages
// that are rendered on the server. It changes with the cookie, and is empty
// without one.
func (b *BFF) CSRFToken(r *http.Request) string {
	h, err := b.handle(r)
	if err != nil {
		return ""
	}
	return h.formToken()
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

func (b *BFF) fromOwnPage(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get(CSRFHeader) != "" {
		return true
	}
	want := b.CSRFToken(r)
	if want == "" {
		return false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	// ParseForm reads only forms: a body of another type stays unread.
	return r.ParseForm() == nil && subtle.ConstantTimeCompare([]byte(r.PostForm.Get(CSRFFormField)), []byte(want)) == 1
}

func refuse(w http.ResponseWriter, status int, code string) {
	writeJSON(w, status, map[string]any{"error": code})
}
