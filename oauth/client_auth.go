package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/latchkey/latchkey/models"
)

// credentials are the client id and the secret in a request.
type credentials struct {
	id, secret string
	raw        string // the secret in Basic before it was form-decoded; empty: the same
}

// authenticateClient authenticates the client of a request (RFC 6749 §2.3) and
// sets call.Client.
func (s *Server) authenticateClient(ctx context.Context, call *Call, r *http.Request, form url.Values) (*Client, error) {
	c, err := readCredentials(r, form)
	if err != nil {
		return nil, err
	}
	client := call.Tenant.client(c.id)
	if call.Tenant.unusable["client "+c.id] {
		return nil, errors.New("this node cannot use the client's configuration")
	}
	if client == nil {
		// An unknown client takes as much work as an existing one, so that the
		// time does not reveal which ids exist.
		for _, secret := range []string{c.secret, c.raw} {
			s.keys.MatchClientSecret(call.Tenant.ID, c.id, secret, models.Digest{RootVersion: int64(s.keys.Issuing())})
		}
		return nil, s.refuseSecret(call, c, "unknown client")
	}
	switch {
	case client.Settings.Public() && c.secret != "" && !client.enabled():
		return nil, s.refuseSecret(call, c, "a secret was sent for a disabled public client")
	case client.Settings.Public() && c.secret != "":
		return nil, invalidClient(errors.New("a public client sent a secret"))
	case !client.Settings.Public() && !s.secretMatches(client, &c):
		call.FailedClientID = client.ID
		if !s.canCompare(client.SecretDigest) || client.PreviousAccepted(s.now()) && !s.canCompare(client.PreviousDigest) {
			return nil, errors.New("the client's secret is digested under a root secret that is not configured")
		}
		return nil, s.refuseSecret(call, c, "wrong or missing secret")
	case !client.enabled():
		return nil, invalidClient(errors.New("client or tenant is disabled"))
	}
	call.Client = client
	if err := client.acceptsOrigin(call); err != nil {
		return nil, err
	}
	if !client.Settings.Public() {
		s.renewClientSecret(ctx, client, c.secret)
	}
	return client, nil
}

// refuseSecret rejects credentials that do not match, and counts the wrong
// secret. A client id alone is not counted, because anybody can know the id of
// a public client.
func (s *Server) refuseSecret(call *Call, c credentials, why string) error {
	if c.secret != "" {
		if wait := s.throttle.fail(call.Tenant.ID, c.id, call.IP, s.now()); wait > 0 {
			return tooManyFailures(wait)
		}
	}
	return invalidClient(errors.New(why))
}

// canCompare reports whether a secret can be compared with the digest, if there
// is one: its root secret must be configured.
func (s *Server) canCompare(d models.Digest) bool {
	return len(d.Digest) == 0 || s.keys.Accepts(d.RootVersion)
}

// secretMatches reports whether the credentials contain one of the client's
// secrets, either form-encoded (RFC 6749 §2.3.1) or, because curl and many
// libraries send it so, exactly as it is in Basic. It stores the secret that
// matched in the credentials.
func (s *Server) secretMatches(client *Client, c *credentials) bool {
	decoded := s.matchesEither(client, c.secret)
	if c.raw != "" && s.matchesEither(client, c.raw) && !decoded {
		c.secret = c.raw
		return true
	}
	return decoded
}

// matchesEither reports whether the secret is the client's current one or its
// previous one, if that is still accepted. It always compares with both.
func (s *Server) matchesEither(c *Client, secret string) bool {
	current := s.keys.MatchClientSecret(c.TenantID, c.ID, secret, c.SecretDigest)
	previous := s.keys.MatchClientSecret(c.TenantID, c.ID, secret, c.PreviousDigest)
	return current || previous && c.PreviousAccepted(s.now())
}

// readCredentials returns the credentials of the only authentication method
// that the request uses (RFC 6749 §2.3).
func readCredentials(r *http.Request, form url.Values) (credentials, error) {
	c := credentials{id: form.Get("client_id"), secret: form.Get("client_secret")}
	headers := r.Header.Values("Authorization")
	asserted := form.Has("client_assertion") || form.Has("client_assertion_type")
	switch {
	case asserted && (len(headers) > 0 || c.secret != ""):
		return credentials{}, invalidRequest(ReasonClientAmbiguous, "The request uses more than one method of client authentication; use one")
	case asserted:
		return credentials{}, invalidClient(errors.New("client assertions are not supported"))
	case len(headers) > 1:
		return credentials{}, invalidRequest(ReasonClientAmbiguous, "The request has more than one Authorization header; send one")
	case len(headers) == 0 && c.id == "":
		return credentials{}, invalidClient(errors.New("no credentials"))
	case len(headers) == 0:
		return c, nil
	}
	basic, err := readBasic(headers[0])
	switch {
	case err != nil:
		return credentials{}, invalidClient(err)
	case c.secret != "":
		return credentials{}, invalidRequest(ReasonClientAmbiguous, "The request uses more than one method of client authentication; use one")
	case c.id != "" && c.id != basic.id:
		return credentials{}, invalidRequest(ReasonClientAmbiguous, "client_id does not match the client in the Authorization header")
	}
	return basic, nil
}

// readBasic parses HTTP Basic credentials, whose two halves are form-encoded
// (RFC 6749 §2.3.1).
func readBasic(header string) (credentials, error) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return credentials{}, errors.New("the Authorization scheme is not Basic")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return credentials{}, errors.New("malformed Basic credentials")
	}
	id, secret, ok := strings.Cut(string(raw), ":")
	if !ok {
		return credentials{}, errors.New("malformed Basic credentials")
	}
	c := credentials{}
	c.id, err = url.QueryUnescape(id)
	if err != nil || malformed(c.id) {
		return credentials{}, errors.New("malformed form-encoding in Basic credentials")
	}
	if c.secret, err = url.QueryUnescape(secret); err != nil {
		c.secret = secret // not form-encoded: it contains a literal percent sign
	}
	if malformed(c.secret) || malformed(secret) {
		return credentials{}, errors.New("malformed Basic credentials")
	}
	if secret != c.secret {
		c.raw = secret
	}
	return c, nil
}
