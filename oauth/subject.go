package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"slices"
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
	var known bool
	aud, err := stringOrList(claims["aud"])
	for _, e := range t.issuers {
		if e.Settings.Issuer != iss || e.Settings.TokenType != tokenType || e.Disabled {
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
	return nil, badSubject("its issuer is not trusted here")
}

// forUs says whether every audience is on the entry's list: one stranger
// among them could replay the token (CONFORMANCE C-05).
func (e *issuerEntry) forUs(aud []string) bool { return len(aud) > 0 && subset(aud, e.audiences) }

// checkTyp refuses tokens that were made for something else (RFC 8725 §3.11).
func (e *issuerEntry) checkTyp(typ string) error {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	switch {
	case slices.Contains(foreignTypes, typ):
		return errors.New("its typ says that it is for something else")
	case typ == "", typ == "jwt", e.Settings.Typ != "" && typ == strings.TrimPrefix(strings.ToLower(e.Settings.Typ), "application/"):
		return nil
	default:
		return errors.New("its typ is not the expected one")
	}
}

// checkTimes asks exp, iat and nbf, the token's life and its age.
func (s *Subject) checkTimes(now time.Time) error {
	e := s.entry
	exp, hasExp, err1 := numericDate(s.claims["exp"])
	iat, hasIat, err2 := numericDate(s.claims["iat"])
	nbf, hasNbf, err3 := numericDate(s.claims["nbf"])
	switch {
	case errors.Join(err1, err2, err3) != nil:
		return errors.New("exp, iat or nbf is not a time")
	case !hasExp || !hasIat:
		return errors.New("exp and iat are required")
	case !now.Before(exp.Add(e.leeway())):
		return errors.New("it has expired")
	case iat.After(now.Add(e.leeway())), hasNbf && nbf.After(now.Add(e.leeway())):
		return errors.New("it is not valid yet")
	case now.Sub(iat) > e.maxAge()+e.leeway():
		return errors.New("it is too old")
	case exp.Sub(iat) > e.maxLifetime():
		return errors.New("it lives too long")
	}
	s.authTime = iat
	s.spent.ExpiresAt = exp.Add(e.leeway() + time.Minute)
	return nil
}

// checkParties asks who the token was issued to.
func (s *Subject) checkParties(c *Client) error {
	for _, name := range []string{"client_id", "azp"} {
		if v := s.claims[name]; v != nil {
			if _, ok := v.(string); !ok {
				return errors.New(name + " is not a string")
			}
		}
	}
	if s.entry.Settings.TokenType == models.TokenTypeIDToken { // OIDC Core §3.1.3.7
		azp, present := s.claims["azp"].(string)
		aud, _ := stringOrList(s.claims["aud"])
		if !present && len(aud) > 1 || present && !slices.Contains(s.entry.audiences, azp) {
			return errors.New("azp is not the expected client")
		}
		return nil
	}
	if id, present := s.claims["client_id"].(string); present && id != c.ID {
		return errors.New("it was issued for another client")
	}
	return nil
}

// readAssertions takes from the token what its entry may state (R-EX-22).
func (s *Subject) readAssertions(now time.Time) error {
	e := s.entry
	authTime, has, err := numericDate(s.claims["auth_time"])
	if err != nil || has && authTime.After(now.Add(e.leeway())) {
		return errors.New("auth_time is not a time in the past")
	}
	if has && e.Settings.MayAssert("auth_time") {
		s.authTime = authTime
	}
	amr, err := amrClaim(s.claims["amr"])
	if err != nil {
		return err
	}
	acr := ""
	if e.Settings.MayAssert("acr") {
		acr = e.capped(s.claims["acr"])
	}
	if !e.Settings.MayAssert("amr") {
		return nil
	}
	for _, method := range amr {
		s.factors = append(s.factors, session.Factor{
			AMR: method, Issuer: e.Settings.Issuer, Entry: e.ID, AuthTime: s.authTime, MaxACR: e.Settings.MaxACR, ACR: acr,
		})
	}
	return nil
}

// capped is an asserted acr, at most the entry's maximum.
func (e *issuerEntry) capped(asserted any) string {
	acr, _ := asserted.(string)
	most := e.Settings.MaxACR
	if most != "" && slices.Index(session.ACRValues, acr) > slices.Index(session.ACRValues, most) {
		return most
	}
	return acr
}

// amrClaim reads amr: a list of a few short strings (RFC 8176 §1).
func amrClaim(v any) ([]string, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok || len(list) > 20 {
		return nil, errors.New("amr is not a list of strings")
	}
	var amr []string
	for _, item := range list {
		method, ok := item.(string)
		if !ok || method == "" || len(method) > 64 || malformed(method) {
			return nil, errors.New("amr is not a list of strings")
		}
		if !slices.Contains(amr, method) {
			amr = append(amr, method)
		}
	}
	return amr, nil
}

// mark makes the single-use mark: by jti, which a jwt must have. An ID token
// without one is marked by what was signed; its signature could be re-spelled.
func (s *Subject) mark(signingInput string) error {
	s.spent.Issuer = s.entry.Settings.Issuer
	unique := "jwt:" + signingInput
	if v := s.claims["jti"]; v != nil {
		jti, ok := v.(string)
		if !ok || jti == "" || len(jti) > 1024 {
			return errors.New("jti is not a short string")
		}
		unique = jti
	} else if s.entry.Settings.TokenType == models.TokenTypeJWT {
		return errors.New("jti is required")
	}
	digest := sha256.Sum256([]byte(unique))
	s.spent.Digest = digest[:]
	return nil
}

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

// numericDate reads a NumericDate (RFC 7519 §2); fractions are accepted, null
// counts as absent.
func numericDate(v any) (at time.Time, present bool, err error) {
	switch n := v.(type) {
	case nil:
		return time.Time{}, false, nil
	case int64:
		if n > 0 && n < 1<<37 {
			return time.Unix(n, 0).UTC(), true, nil
		}
	case float64:
		if n > 0 && n < 1<<37 {
			whole, fraction := math.Modf(n)
			return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true, nil
		}
	}
	return time.Time{}, false, errors.New("not a NumericDate")
}

// stringOrList reads a claim that is a string or a list of strings.
func stringOrList(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case []any:
		var list []string
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, errors.New("not a list of strings")
			}
			list = append(list, s)
		}
		return list, nil
	default:
		return nil, errors.New("neither a string nor a list")
	}
}
