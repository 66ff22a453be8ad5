package admin

import (
	"context"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// Explanation reports what an exchange of a client token would do, and why.
type Explanation struct {
	Allowed bool    `json:"allowed" doc:"The exchange would succeed"`
	Checks  []Check `json:"checks" doc:"Every check of the exchange, in order" nullable:"false"`
	Issuer  string  `json:"issuer,omitempty" doc:"The id of the trusted issuer that issued the token"`
	Masked  bool    `json:"masked,omitempty" doc:"The role may not see the values of claims and attributes, so they are hidden"`

	TokenClaims       map[string]any    `json:"token_claims,omitempty" doc:"The claims of the client token; absent if it is not a JWT. If the check signature has not passed, they may be forged"`
	User              string            `json:"user,omitempty" doc:"The sub that the token maps to"`
	UserAttributes    map[string]any    `json:"user_attributes,omitempty" doc:"The attributes that the token maps to"`
	SessionAttributes map[string]any    `json:"session_attributes,omitempty" doc:"The session attributes that the token maps to"`
	AccessToken       map[string]any    `json:"access_token,omitempty" doc:"The claims that the access token would have"`
	LeftOut           map[string]string `json:"left_out,omitempty" doc:"Custom claims and attributes that would be left out, and why"`
}

// Check is one check of an exchange.
type Check struct {
	Name     string `json:"name" doc:"See docs/management.md"`
	Outcome  string `json:"outcome" enum:"passed,failed,not_reached" doc:"The result; checks after a failed check are not reached"`
	Reason   string `json:"reason,omitempty" doc:"Only for a failed check: the latchkey_reason of the response, see docs/errors.md"`
	Detail   string `json:"detail,omitempty" doc:"Only for a failed check: the error_description that the client receives"`
	Cause    string `json:"cause,omitempty" doc:"Only for a failed check: the cause, which otherwise only the log contains"`
	Expected string `json:"expected,omitempty" doc:"What the check requires"`
	Received string `json:"received,omitempty" doc:"What the token contains"`
}

type explainBody struct {
	ClientID         string `yaml:"client_id"`
	SubjectToken     string `yaml:"subject_token"`
	SubjectTokenType string `yaml:"subject_token_type"`

	settings.Place
}

// Explain runs the checks of an exchange and reports each result. It does not use up the
// token and writes nothing.
func (s *Service) Explain(ctx context.Context, c *Caller, tenant string, body []byte) (*Explanation, error) {
	if err := c.may(support, tenant); err != nil {
		return nil, err
	}
	var b explainBody
	if err := decodeBody(body, "", &b); err != nil {
		return nil, err
	}
	var faults settings.Faults
	if b.ClientID == "" {
		faults.Add("client_id", "is missing")
	}
	if b.SubjectToken == "" {
		faults.Add("subject_token", "is missing")
	}
	switch b.SubjectTokenType {
	case "", settings.TokenTypeJWT:
		b.SubjectTokenType = oauth.TokenTypeJWT
	case settings.TokenTypeIDToken:
		b.SubjectTokenType = oauth.TokenTypeIDToken
	case oauth.TokenTypeJWT, oauth.TokenTypeIDToken:
	default:
		faults.Add("subject_token_type", "must be jwt, id_token, or the URN of one of them in RFC 8693")
	}
	if len(faults) > 0 {
		return nil, invalidBody("", faults)
	}
	e, err := s.OAuth.Explain(ctx, tenant, b.ClientID, b.SubjectToken, b.SubjectTokenType)
	if err != nil {
		return nil, err
	}
	out := &Explanation{
		Allowed: e.Allowed, Checks: make([]Check, len(e.Checks)), Issuer: e.Issuer, TokenClaims: e.Claims, User: e.Subject,
		UserAttributes: e.UserAttributes, SessionAttributes: e.SessionAttributes, AccessToken: e.AccessToken, LeftOut: map[string]string{},
	}
	for i, check := range e.Checks {
		out.Checks[i] = Check{check.Name, check.Outcome, string(check.Reason), check.Problem, check.Cause, check.Expected, check.Received}
	}
	for name, why := range e.LeftOut {
		out.LeftOut[name] = why
	}
	for _, name := range e.TooLong {
		out.LeftOut[name] = "the attribute is longer than 4 KiB as JSON"
	}
	if c.Key.Role == models.RoleSupport {
		out.Masked = true
		out.TokenClaims, out.UserAttributes = mask(out.TokenClaims), mask(out.UserAttributes)
		out.SessionAttributes, out.AccessToken = mask(out.SessionAttributes), mask(out.AccessToken)
	}
	return out, nil
}

// shownClaims lists the claims whose values mask keeps: the checks use them, and they
// reveal nothing about a person.
var shownClaims = []string{"iss", "aud", "exp", "iat", "nbf", "typ", "client_id", "azp", "amr", "acr", "auth_time", "acr_times", "scope"}

// mask returns the claims with their values hidden, except those of shownClaims.
func mask(claims map[string]any) map[string]any {
	if claims == nil {
		return nil
	}
	masked := map[string]any{}
	for name, value := range claims {
		masked[name] = "•••"
		for _, shown := range shownClaims {
			if name == shown {
				masked[name] = value
			}
		}
	}
	return masked
}
