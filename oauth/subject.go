package oauth

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// Token type identifiers (RFC 8693 §3).
const (
	TokenTypeJWT     = "urn:ietf:params:oauth:token-type:jwt"
	TokenTypeIDToken = "urn:ietf:params:oauth:token-type:id_token"
	tokenTypeAccess  = "urn:ietf:params:oauth:token-type:access_token"
	tokenTypeSession = "urn:latchkey:params:oauth:token-type:session"
)

// subjectTypes maps a subject_token_type to the token_type of the issuer entry
// that it requires.
var subjectTypes = map[string]string{TokenTypeJWT: settings.TokenTypeJWT, TokenTypeIDToken: settings.TokenTypeIDToken}

// otherPurposes lists the typ headers of tokens for other purposes (R-JK-17).
var otherPurposes = []string{
	"at+jwt", "token-introspection+jwt", "logout+jwt", "secevent+jwt", "statuslist+jwt", "dpop+jwt", "client-authentication+jwt",
	settings.GlobalRevocationType,
}

// Subject is the result of the verification of a client token.
type Subject struct {
	entry             *issuerEntry
	claims            map[string]any
	sub               string
	userAttributes    map[string]any
	sessionAttributes map[string]any
	tooLong           []string // names of attributes that were left out
	factors           []session.Factor
	authTime          time.Time
	spent             models.SpentToken
	upstream          *models.Upstream // nil: the entry may not revoke
}

// badSubject returns the refusal of a client token. Its code is invalid_request
// for every reason (RFC 8693 §2.2.2).
func badSubject(reason Reason, why string) *Error {
	return invalidRequest(reason, subjectRejected+why)
}

const subjectRejected = "subject_token rejected: "

// malformedSubject returns the refusal of a client token that cannot be parsed.
func malformedSubject(cause error) *Error {
	return badSubject(ReasonSubjectTokenMalformed, "it is not a well-formed JWT").withCause(cause)
}

// verifySubject verifies a client token of the given type. Cheap checks run
// before those that may fetch a key. It writes nothing.
func (s *Server) verifySubject(ctx context.Context, c *Client, token, tokenType string) (*Subject, error) {
	rec := recorderOf(ctx)
	header, signingInput, claims, err := parseSubject(token)
	if err := rec.step(err, func() []Check { return []Check{{Name: CheckFormat}} }); err != nil {
		return nil, err
	}
	rec.parsed(claims)
	entry, err := c.tenant.chooseIssuer(c, claims, subjectTypes[tokenType], s.registry.base)
	if err := rec.step(err, func() []Check { return chosenIssuer(c, entry, claims) }); err != nil {
		return nil, err
	}
	now := s.now()
	sub := &Subject{entry: entry, claims: claims}
	if err := rec.step(entry.checkTyp(header.Typ), func() []Check { return one(CheckTyp, entry.acceptedTyp(), header.Typ) }); err != nil {
		return nil, err
	}
	if err := rec.step(sub.checkTimes(now), func() []Check { return one(CheckTimes, entry.times(), describeTimes(claims)) }); err != nil {
		return nil, err
	}
	if err := rec.step(sub.checkParties(c), func() []Check { return one(CheckClientID, "", "") }); err != nil {
		return nil, err
	}
	if err := rec.step(entry.verifySignature(ctx, token, header), func() []Check { return one(CheckSignature, "", header.Kid) }); err != nil {
		return nil, err
	}
	if err := rec.step(sub.readClaims(now), func() []Check { return one(CheckAssertions, "", strings.Join(session.AMR(sub.factors), " ")) }); err != nil {
		return nil, err
	}
	if err := rec.step(sub.setDigest(signingInput), func() []Check { return one(CheckJTI, "", "") }); err != nil {
		return nil, err
	}
	return sub, rec.step(sub.mapUser(c), func() []Check { return one(CheckSubject, "", sub.sub) })
}

// parseSubject parses a client token without verifying it.
func parseSubject(token string) (header *jws.Header, signingInput string, claims map[string]any, err error) {
	if strings.HasPrefix(token, "lk_") {
		return nil, "", nil, badSubject(ReasonSubjectTokenMalformed, "it is a Latchkey token, not a client token; check subject_token_type")
	}
	if header, err = jws.Parse(token); err != nil {
		return nil, "", nil, malformedSubject(err)
	}
	signingInput, _ = cutLast(token, ".")
	_, encoded := cutLast(signingInput, ".")
	payload, err := jws.DecodeBase64(encoded)
	if err != nil {
		return nil, "", nil, malformedSubject(err)
	}
	if claims, err = models.ParseClaims(payload); err != nil {
		return nil, "", nil, malformedSubject(err)
	}
	return header, signingInput, claims, nil
}

// chooseIssuer returns the entry with the exact iss and the type of token. If
// an issuer has several entries, aud chooses between them. Reading iss before
// the signature is verified only chooses whose keys must verify it.
func (t *Tenant) chooseIssuer(c *Client, claims map[string]any, tokenType, base string) (*issuerEntry, error) {
	iss, _ := claims["iss"].(string)
	if iss == "" || ownIssuer(base, iss) {
		return nil, badSubject(ReasonSubjectTokenIssuer, "iss is not a trusted issuer of this tenant").compare(t.issuerNames(), iss)
	}
	var known, otherType bool
	var expected []string // audiences
	aud, err := stringOrList(claims["aud"])
	for _, e := range t.issuers {
		if e.Settings.Issuer != iss || e.Settings.TokenType != tokenType || !e.Enabled() {
			otherType = otherType || e.Settings.Issuer == iss && e.Enabled()
			continue
		}
		known, expected = true, append(expected, e.audiences...)
		if err == nil && e.acceptsAudience(aud) {
			if !e.acceptsClient(c) {
				return nil, badSubject(ReasonSubjectTokenClient, "the client may not use tokens of this issuer; see clients and public_clients of the trusted issuer").compare(e.clientNames(), c.ID)
			}
			return e, nil
		}
	}
	switch {
	case known:
		return nil, badSubject(ReasonSubjectTokenAudience, "aud does not match audiences of the trusted issuer").compare(strings.Join(expected, " "), strings.Join(aud, " "))
	case t.unusable["issuer "+iss]:
		return nil, errors.New("this node cannot use the trusted issuer's configuration")
	}
	if otherType {
		return nil, badSubject(ReasonSubjectTokenIssuer, "iss is not a trusted issuer of this tenant for this subject_token_type").
			withCause(errors.New("the trusted issuer is configured with another token_type")).compare(t.issuerNames(), iss)
	}
	return nil, badSubject(ReasonSubjectTokenIssuer, "iss is not a trusted issuer of this tenant for this subject_token_type").
		withCause(errors.New("no trusted issuer has this iss")).compare(t.issuerNames(), iss)
}

// issuerNames lists the trusted issuers, for the log.
func (t *Tenant) issuerNames() string {
	var names []string
	for _, e := range t.issuers {
		names = append(names, e.Settings.Issuer+" ("+e.Settings.TokenType+")")
	}
	return strings.Join(names, " ")
}

// clientNames lists the clients that may use tokens of the entry, for the log.
func (e *issuerEntry) clientNames() string {
	if len(e.Settings.Clients) > 0 {
		return strings.Join(e.Settings.Clients, " ")
	}
	return "a client with a secret"
}

// acceptsAudience reports whether every audience is one of the entry's. A
// single other audience could replay the token.
func (e *issuerEntry) acceptsAudience(aud []string) bool {
	return len(aud) > 0 && subset(aud, e.audiences)
}

// mapUser maps the token's claims to a subject, which must be in the entry's
// own namespace, and to attributes.
func (s *Subject) mapUser(c *Client) error {
	e := s.entry
	variables := map[string]any{"token": s.claims}
	mapped, err := e.subject.Evaluate(variables)
	text, ok := mapped.(string)
	if err != nil || !ok || text == "" {
		return badSubject(ReasonSubjectTokenSubject, "the subject expression of the trusted issuer failed or returned no text").withCause(err)
	}
	s.sub = e.Settings.SubjectPrefix + text
	if !validSubject(s.sub) {
		return badSubject(ReasonSubjectTokenSubject, "the subject mapped from it must be 1 to 255 printable ASCII characters").compare("", s.sub)
	}
	if c.tenant.clientIDs[s.sub] || !e.Settings.SpeaksFor(s.sub, c.tenant.namespaces) {
		return badSubject(ReasonSubjectTokenNamespace, "the subject mapped from it is a client id, or begins with subject_prefix of another trusted issuer").compare(e.Settings.SubjectPrefix, s.sub)
	}
	var failure error
	fail := func(name string, err error) {
		failure = badSubject(ReasonSubjectTokenMapping, "an attribute expression of the trusted issuer failed").withCause(err)
	}
	s.userAttributes = s.dropTooLong(e.userAttributes.Evaluate(expr.NewBudget(), variables, s.collectTooLong(fail)))
	s.sessionAttributes = s.dropTooLong(e.sessionAttributes.Evaluate(expr.NewBudget(), variables, s.collectTooLong(fail)))
	if failure == nil && containsNUL(s.userAttributes, s.sessionAttributes) {
		failure = badSubject(ReasonSubjectTokenMapping, "a claim contains a NUL character")
	}
	return failure
}

// validSubject reports whether s has the form of sub (OIDC Core §2).
func validSubject(s string) bool {
	for _, b := range []byte(s) {
		if b < 0x20 || b > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// containsNUL reports whether any string in the values contains a NUL
// character.
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

// cutLast cuts s around its last sep. Without one, after is empty.
func cutLast(s, sep string) (before, after string) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):]
	}
	return s, ""
}
