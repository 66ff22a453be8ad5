package oauth

import (
	"crypto/sha256"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// checkTyp rejects tokens that were issued for another purpose (RFC 8725
// §3.11).
func (e *issuerEntry) checkTyp(typ string) error {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	switch {
	case slices.Contains(otherPurposes, typ), e.Settings.RevocationTyp != "" && typ == settings.BareType(e.Settings.RevocationTyp):
		return badSubject(ReasonSubjectTokenTyp, "typ in its header is that of a token for another purpose").compare(e.acceptedTyp(), typ)
	case typ == "", typ == "jwt", e.Settings.Typ != "" && typ == strings.TrimPrefix(strings.ToLower(e.Settings.Typ), "application/"):
		return nil
	default:
		return badSubject(ReasonSubjectTokenTyp, "typ in its header does not match typ of the trusted issuer").compare(e.acceptedTyp(), typ)
	}
}

// acceptedTyp lists the types that checkTyp accepts, for the log.
func (e *issuerEntry) acceptedTyp() string {
	if e.Settings.Typ != "" {
		return "JWT or " + e.Settings.Typ
	}
	return jws.TypJWT
}

// checkTimes checks exp, iat and nbf, and the token's lifetime and age.
func (s *Subject) checkTimes(now time.Time) error {
	e := s.entry
	exp, hasExp, err1 := numericDate(s.claims["exp"])
	iat, hasIat, err2 := numericDate(s.claims["iat"])
	nbf, hasNbf, err3 := numericDate(s.claims["nbf"])
	switch {
	case errors.Join(err1, err2, err3) != nil:
		return badClaims("exp, iat and nbf must be numbers of seconds since 1970")
	case !hasExp || !hasIat:
		return badClaims("exp and iat are required")
	case !now.Before(exp.Add(e.leeway())):
		return badSubject(ReasonSubjectTokenExpired, "exp has passed").compare("after "+timestamp(now.Add(-e.leeway())), timestamp(exp))
	case iat.After(now.Add(e.leeway())):
		return badSubject(ReasonSubjectTokenNotYetValid, "iat is in the future; check the clock of the issuer").compare("at most "+timestamp(now.Add(e.leeway())), timestamp(iat))
	case hasNbf && nbf.After(now.Add(e.leeway())):
		return badSubject(ReasonSubjectTokenNotYetValid, "nbf is in the future").compare("at most "+timestamp(now.Add(e.leeway())), timestamp(nbf))
	case now.Sub(iat) > e.maxAge()+e.leeway():
		return badSubject(ReasonSubjectTokenTooOld, "iat is older than max_age of the trusted issuer").compare("at most "+(e.maxAge()+e.leeway()).String()+" ago", timestamp(iat))
	case exp.Sub(iat) > e.maxLifetime():
		return badSubject(ReasonSubjectTokenLifetime, "exp - iat exceeds max_token_lifetime of the trusted issuer").compare("at most "+e.maxLifetime().String(), exp.Sub(iat).String())
	}
	s.authTime, s.spent.IssuedAt = iat, iat
	if now.Before(s.authTime) {
		s.authTime = now // the issuer's clock is ahead
	}
	s.spent.ExpiresAt = exp.Add(settings.MaxLeeway + time.Minute) // long enough even if the entry gets more leeway later
	return nil
}

// badClaims returns the refusal of a client token with a missing or malformed
// claim.
func badClaims(why string) *Error { return badSubject(ReasonSubjectTokenClaims, why) }

// timestamp formats a time for the log.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checkParties checks which client the token was issued to.
func (s *Subject) checkParties(c *Client) error {
	if isLogout(s.claims) { // some identity providers give it the type of ID tokens
		return badSubject(ReasonSubjectTokenTyp, "events shows that it is a logout token")
	}
	for _, name := range []string{"client_id", "azp"} {
		if v := s.claims[name]; v != nil {
			if _, ok := v.(string); !ok {
				return badClaims(name + " must be a string")
			}
		}
	}
	if s.entry.Settings.TokenType == settings.TokenTypeIDToken { // OIDC Core §3.1.3.7
		azp, present := s.claims["azp"].(string)
		aud, _ := stringOrList(s.claims["aud"])
		if !present && len(aud) > 1 || present && !slices.Contains(s.entry.audiences, azp) {
			return badSubject(ReasonSubjectTokenClient, "azp is required if aud has several values, and must be one of audiences of the trusted issuer").
				compare(strings.Join(s.entry.audiences, " or "), azp)
		}
		return nil
	}
	if id, present := s.claims["client_id"].(string); present && id != c.ID {
		return badSubject(ReasonSubjectTokenClient, "client_id does not match the authenticated client").compare(c.ID, id)
	}
	return nil
}

// readClaims reads what the session is to have of the token.
func (s *Subject) readClaims(now time.Time) error {
	if err := s.readAssertions(now); err != nil {
		return err
	}
	return s.readUpstream()
}

// readAssertions reads from the token what its entry may assert (R-EX-22).
func (s *Subject) readAssertions(now time.Time) error {
	e := s.entry
	authTime, has, err := numericDate(s.claims["auth_time"])
	if err != nil || has && authTime.After(now.Add(e.leeway())) {
		return badClaims("auth_time must be a number of seconds since 1970 and must not be in the future")
	}
	dated := has && e.Settings.MayAssert("auth_time")
	if dated && authTime.Before(s.authTime) { // a time after iat comes from a clock that is ahead and is replaced by iat
		s.authTime = authTime
	}
	amr, err := e.methods(s.claims)
	if err != nil {
		return err
	}
	acr := ""
	if e.Settings.MayAssert("acr") {
		acr = e.cappedACR(s.claims["acr"])
	}
	if !e.Settings.MayAssert("amr") {
		return nil
	}
	for _, method := range amr {
		s.factors = append(s.factors, session.Factor{
			AMR: method, Issuer: e.Settings.Issuer, Entry: e.ID, AuthTime: s.authTime, Dated: dated, AddedAt: now,
			MaxACR: e.Settings.MaxACR, ACR: acr,
		})
	}
	return nil
}

// cappedACR returns an asserted acr, limited to the entry's maximum.
func (e *issuerEntry) cappedACR(asserted any) string {
	acr, _ := asserted.(string)
	most := e.Settings.MaxACR
	if most != "" && slices.Index(e.acrValues, acr) > slices.Index(e.acrValues, most) {
		return most
	}
	return acr
}

// methods returns the methods that a token of the entry proves: its amr, or the
// result of the entry's amr expression.
func (e *issuerEntry) methods(claims map[string]any) ([]string, error) {
	if e.amr == nil {
		return amrClaim(claims["amr"])
	}
	value, err := e.amr.Evaluate(map[string]any{"token": claims})
	if errors.Is(err, expr.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, badClaims("the amr expression of the trusted issuer failed").withCause(err)
	}
	return amrClaim(value)
}

// Bounds of a session's methods: maxAMR is in bytes of JSON, since every access
// token contains them. maxFactors bounds the factors, which also differ by
// entry and time.
const (
	maxAMR     = 512
	maxFactors = 50
)

// amrClaim parses amr: a list of a few short strings (RFC 8176 §1).
func amrClaim(v any) ([]string, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok || len(list) > 20 {
		return nil, badClaims("amr must be a list of at most 20 short strings")
	}
	var amr []string
	room := maxAMR
	for _, item := range list {
		method, ok := item.(string)
		text, err := jws.EncodeJSON(method)
		if room -= len(text); !ok || method == "" || len(method) > 64 || malformed(method) || err != nil || room < 0 {
			return nil, badClaims("amr must be a list of at most 20 short strings")
		}
		if !slices.Contains(amr, method) {
			amr = append(amr, method)
		}
	}
	return amr, nil
}

// setDigest sets the digest by which a token can be spent only once. It covers
// jti, which a jwt must have. For an ID token without jti it covers the signed
// text, because the signature could be encoded in another way.
func (s *Subject) setDigest(signingInput string) error {
	s.spent.Issuer = s.entry.Settings.Issuer
	unique := "jwt:" + signingInput
	if v := s.claims["jti"]; v != nil {
		jti, ok := v.(string)
		if !ok || jti == "" || len(jti) > 1024 {
			return badClaims("jti must be a string of 1 to 1024 bytes")
		}
		unique = jti
	} else if s.entry.Settings.TokenType == settings.TokenTypeJWT {
		return badClaims("jti is required")
	}
	digest := sha256.Sum256([]byte(unique))
	s.spent.Digest = digest[:]
	return nil
}

// numericDate parses a NumericDate (RFC 7519 §2). It accepts fractions, and
// null counts as absent.
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

// stringOrList parses a claim that is a string or a list of strings.
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
