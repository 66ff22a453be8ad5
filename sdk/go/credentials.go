package latchkey

import (
	"encoding/base64"
	"net/http"
	"net/url"
)

// credentials are those of a client. A public one has no secret.
type credentials struct{ id, secret string }

// basic is the value of an Authorization header. Both parts are form-encoded
// first (RFC 6749 §2.3.1).
func (c credentials) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.id)+":"+url.QueryEscape(c.secret)))
}

// authenticate adds HTTP Basic to a request.
func (c credentials) authenticate(r *http.Request) { r.Header.Set("Authorization", c.basic()) }
