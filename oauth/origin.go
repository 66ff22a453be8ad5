package oauth

import (
	"net/http"
	"net/url"
)

// A page whose origin is not listed cannot read the response, but its request
// would be carried out: it would spend its user's client token or rotate a
// refresh token. The server therefore rejects such requests before it looks up
// or writes anything.

// AcceptOrigin checks the origin of a request before its client is looked up.
// It returns false after it has rejected the request. backEnd is set for
// endpoints that browsers do not call.
func (s *Server) AcceptOrigin(w http.ResponseWriter, call *Call, backEnd bool) bool {
	switch t := call.Tenant; {
	case call.Origin == "":
		return true
	case backEnd:
		s.writeError(w, call, originRefused("This endpoint is for back ends and rejects requests with an Origin header").compare("none", call.Origin))
		return false
	case t.origins.Has(call.Origin) || call.Origin == t.ownOrigin:
		return true
	default:
		s.writeError(w, call, originRefused("The Origin header matches no client of this tenant; add it to origins of the client").
			compare("an origin of a client", call.Origin))
		return false
	}
}

// acceptsOrigin rejects a request from an origin that the tenant lists only for
// other clients. It is called as soon as the client is known.
func (c *Client) acceptsOrigin(call *Call) error {
	if call.Origin == "" || c.origins.Has(call.Origin) || call.Origin == c.tenant.ownOrigin {
		return nil
	}
	return originRefused("The Origin header is not one of the origins of this client; add it to origins of the client").
		compare("an origin of client "+c.ID, call.Origin)
}

// originRefused returns the refusal of a request because of its origin.
func originRefused(description string) *Error {
	e := invalidRequest(ReasonOriginNotListed, description)
	e.Status = http.StatusForbidden
	return e
}

// Lists reports whether a client of the tenant lists the origin.
func (t *Tenant) Lists(origin string) bool { return t.origins.Has(origin) }

// Lists reports whether the client lists the origin.
func (c *Client) Lists(origin string) bool { return c.origins.Has(origin) }

// originOf returns the origin of a URL as a browser would send it (RFC 6454
// §6.2).
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	host := u.Host
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = host[:len(host)-len(":"+port)]
	}
	return u.Scheme + "://" + host
}
