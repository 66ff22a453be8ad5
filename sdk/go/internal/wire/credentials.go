package wire

import (
	"encoding/base64"
	"net/http"
	"net/url"
)

// Credentials are the id and secret of a client. A public client has no secret.
type Credentials struct{ ID, Secret string }

// Basic returns the value of an Authorization header. Both parts are
// form-encoded first (RFC 6749 §2.3.1).
func (c Credentials) Basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ID)+":"+url.QueryEscape(c.Secret)))
}

// Authenticate adds HTTP Basic authentication to a request.
func (c Credentials) Authenticate(r *http.Request) { r.Header.Set("Authorization", c.Basic()) }
