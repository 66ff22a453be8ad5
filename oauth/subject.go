package oauth

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// Token type identifiers (RFC 8693 §3).
const (
	tokenTypeJWT     = "urn:ietf:params:oauth:token-type:jwt"
	tokenTypeIDToken = "urn:ietf:params:oauth:token-type:id_token"
	tokenTypeAccess  = "urn:ietf:params:oauth:token-type:access_token"
	tokenTypeSession = "urn:latchkey:params:oauth:token-type:session"
)

// subjectTypes says which kind of issuer entry a subject_token_type asks for.
var subjectTypes = map[string]string{tokenTypeJWT: models.TokenTypeJWT, tokenTypeIDToken: models.TokenTypeIDToken}

// foreignTypes are headers of tokens that are for something else (CONFORMANCE
// R-JK-17).
var foreignTypes = []string{
	"at+jwt", "token-introspection+jwt", "logout+jwt", "secevent+jwt", "statuslist+jwt", "dpop+jwt", "client-authentication+jwt",
}

// Subject is what a client token proved.
type Subject struct {
	entry             *issuerEntry
	claims            map[string]any
	sub               string
	userAttributes    map[string]any
	sessionAttributes map[string]any
	factors           []session.Factor
	authTime          time.Time
	spent             models.SpentToken
}

// badSubject refuses a client token: invalid_request whatever the reason
// (RFC 8693 §2.2.2).
func badSubject(reason string) *Error {
	return invalidRequest("The subject_token is refused: " + reason)
}

// verifySubject checks a client token of the given type, cheap checks before
// those that may fetch a key. Nothing is written.
func (s *Server) verifySubject(ctx context.Context, c *Client, token, tokenType string) (*Subject, error) {
	if strings.HasPrefix(token, "lk_") {
		return nil, badSubject("it is not a client token")
	}
	header, err := compactHeader(token)
	if err != nil {
		return nil, badSubject("it is not a well-formed JWT").because(err)
	}
	signingInput, _, _ := cutLast(token, ".")
	_, encoded, _ := cutLast(signingInput, ".")
	payload, err := canonicalBase64(encoded)
	if err != nil {
		return nil, badSubject("it is not a well-formed JWT").because(err)
	}
	claims, err := models.ParseObject(payload)
	if err != nil {
		return nil, badSubject("it is not a well-formed JWT").because(err)
	}
	entry, err := c.tenant.chooseIssuer(c, claims, subjectTypes[tokenType], s.registry.base)
	if err != nil {
		return nil, err
	}
	if err := entry.checkTyp(header.Typ); err != nil {
		return nil, badSubject(err.Error())
	}
	now := s.now()
	sub := &Subject{entry: entry, claims: claims}
	if err := sub.checkTimes(now); err != nil {
		return nil, badSubject(err.Error())
	}
	if err := sub.checkParties(c); err != nil {
		return nil, badSubject(err.Error())
	}
	if err := entry.verifySignature(ctx, token, header); err != nil {
		if errors.Is(err, ErrIssuerUnavailable) {
			return nil, err
		}
		return nil, badSubject(err.Error())
	}
	if err := sub.readAssertions(now); err != nil {
		return nil, badSubject(err.Error())
	}
	if err := sub.mark(signingInput); err != nil {
		return nil, badSubject(err.Error())
	}
	return sub, sub.mapUser(c)
}

// chooseIssuer finds the entry by the exact iss and the type of token, among
// several of one issuer by audience. Reading iss before the signature is
// verified only chooses whose keys must verify it.
func (t *Tenant) chooseIssuer(c *Client, claims map[string]any, tokenType, base string) (*issuerEntry, error) {
	iss, _ := claims["iss"].(string)
	if iss == "" || ownIssuer(base, iss) {
		return nil, badSubject("its issuer is not trusted here")
	}
	var known, otherType bool
	aud, err := stringOrList(claims["aud"])
	for _, e := range t.issuers {
		if e.Settings.Issuer != iss || e.Settings.TokenType != tokenType || e.Disabled {
			otherType = otherType || e.Settings.Issuer == iss && !e.Disabled
			continue
		}
		known = true
		if err == nil && e.forUs(aud) {
			if !e.accepts(c) {
				return nil, badSubject("this client may not bring tokens of its issuer")
			}
			return e, nil
		}
	}
	switch {
	case known:
		return nil, badSubject("its audience is another one")
	case t.broken["issuer "+iss]:
		return nil, errors.New("the trusted issuer's configuration is unusable on this node")
	}
	if otherType {
		return nil, badSubject("its issuer is not trusted here for this subject_token_type").because(errors.New("the issuer's entry has another token_type"))
	}
	return nil, badSubject("its issuer is not trusted here for this subject_token_type").because(errors.New("no entry has this issuer"))
}

// forUs says whether every audience is on the entry's list: one stranger
// among them could replay the token (CONFORMANCE C-05).
func (e *issuerEntry) forUs(aud []string) bool { return len(aud) > 0 && subset(aud, e.audiences) }

// mapUser maps the token's claims to a subject of ours, which must lie in the
// entry's own namespace, and to attributes.
func (s *Subject) mapUser(c *Client) error {
	e := s.entry
	variables := map[string]any{"token": s.claims}
	mapped, err := e.subject.evaluate(variables)
	text, ok := mapped.(string)
	if err != nil || !ok || text == "" {
		return badSubject("its claims yield no subject").because(err)
	}
	s.sub = e.Settings.SubjectPrefix + text
	if !validSubject(s.sub) {
		return badSubject("its subject is not 1 to 255 printable ASCII characters")
	}
	if c.tenant.clientIDs[s.sub] || !e.Settings.SpeaksFor(s.sub, c.tenant.namespaces) {
		return badSubject("its issuer may not vouch for this subject")
	}
	var failure error
	fail := func(name string, err error) { failure = badSubject("its claims cannot be mapped").because(err) }
	s.userAttributes = e.userAttributes.evaluate(variables, fail)
	s.sessionAttributes = e.sessionAttributes.evaluate(variables, fail)
	if failure == nil && containsNUL(s.userAttributes, s.sessionAttributes) {
		failure = badSubject("its claims contain NUL")
	}
	return failure
}

// validSubject is the form of `sub` (OIDC Core §2).
func validSubject(s string) bool {
	for _, b := range []byte(s) {
		if b < 0x20 || b > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

func containsNUL(values ...any) bool {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			if strings.ContainsRune(v, 0) {
				return true
			}
		case []any:
			if containsNUL(v...) {
				return true
			}
		case map[string]any:
			for name, inner := range v {
				if containsNUL(name, inner) {
					return true
				}
			}
		}
	}
	return false
}
