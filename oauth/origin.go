package oauth

import (
	"net/http"
	"net/url"
)

// A page whose origin nobody has listed cannot read an answer, and what it
// asked for would be carried out all the same: its user's client token spent,
// a refresh token rotated. Its requests are therefore rejected before anything
// is looked up or written.

// AcceptOrigin checks where the request comes from, before its client is
// looked up, and answers it if it must not go on. backEnd marks an endpoint
// that no browser calls.
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

// acceptsOrigin rejects a request from an origin that the tenant lists, but
// for other clients. It is asked as soon as the client is known.
func (c *Client) acceptsOrigin(call *Call) error {
	if call.Origin == "" || c.origins.Has(call.Origin) || call.Origin == c.tenant.ownOrigin {
		return nil
	}
	return originRefused("The Origin header is not one of the origins of this client; add it to origins of the client").
		compare("an origin of client "+c.ID, call.Origin)
}

func originRefused(description string) *Error {
	e := invalidRequest(ReasonOriginNotListed, description)
	e.Status = http.StatusForbidden
	return e
}

// Lists reports whether a client of the tenant lists the origin.
func (t *Tenant) Lists(origin string) bool { return t.origins.Has(origin) }

// Lists reports whether the client lists the origin.
func (c *Client) Lists(origin string) bool { return c.origins.Has(origin) }

// originOf is the origin of a URL as a browser would send it (RFC 6454 §6.2).
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
