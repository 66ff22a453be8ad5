package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// ExplainParams describe the exchange that [Client.Explain] explains. fmt does not
// print the token.
type ExplainParams struct {
	ClientID         string `json:"client_id"`
	SubjectToken     string `json:"subject_token"`                // the client token
	SubjectTokenType string `json:"subject_token_type,omitempty"` // jwt (default) or id_token
}

// Format hides the token, for any verb.
func (p ExplainParams) Format(f fmt.State, _ rune) { io.WriteString(f, "exchange at "+p.ClientID) }

// Explanation reports what an exchange of a client token would do, and why.
type Explanation struct {
	Allowed bool    `json:"allowed"` // the exchange would succeed
	Checks  []Check `json:"checks"`  // every check, in order
	Issuer  string  `json:"issuer,omitempty"`
	Masked  bool    `json:"masked,omitempty"` // the role may not see the values of claims and attributes

	TokenClaims       map[string]any    `json:"token_claims,omitempty"` // if the check signature has not passed, they may be forged
	User              string            `json:"user,omitempty"`
	UserAttributes    map[string]any    `json:"user_attributes,omitempty"`
	SessionAttributes map[string]any    `json:"session_attributes,omitempty"`
	AccessToken       map[string]any    `json:"access_token,omitempty"` // the claims that the access token would have
	LeftOut           map[string]string `json:"left_out,omitempty"`     // custom claims and attributes that would be left out, and why
}

// Check is one check of an exchange.
type Check struct {
	Name     string `json:"name"`
	Outcome  string `json:"outcome"` // passed, failed or not_reached
	Reason   string `json:"reason,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Cause    string `json:"cause,omitempty"`
	Expected string `json:"expected,omitempty"`
	Received string `json:"received,omitempty"`
}

// Explain runs the checks of an exchange and reports each result. The token is not used
// up, and nothing is written.
func (c *Client) Explain(ctx context.Context, tenant string, p ExplainParams) (*Explanation, error) {
	e := &Explanation{}
	if _, err := c.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "explain"), repeat: true}, p, e); err != nil {
		return nil, err
	}
	return e, nil
}

// PreviewParams describe what [Client.PreviewClient] assumes.
type PreviewParams struct {
	Allow  *string           `json:"allow,omitempty"`  // nil: the stored rule
	Claims map[string]string `json:"claims,omitempty"` // nil: the stored claims
	Sub    string            `json:"sub"`              // the user whose access token is previewed
	AMR    []string          `json:"amr,omitempty"`    // the methods by which the user would sign in
}

// Preview reports what a rule and claims of a client would do that are not stored.
type Preview struct {
	Faults      []ExpressionFault `json:"faults"`       // the expressions that do not compile
	UserExists  bool              `json:"user_exists"`  // otherwise the user has no attributes
	AccessToken map[string]any    `json:"access_token"` // without the claims that do not compile
	LeftOut     map[string]string `json:"left_out,omitempty"`
}

// ExpressionFault is what is wrong with an expression, and where.
type ExpressionFault struct {
	Pointer string `json:"pointer"` // JSON Pointer, such as /claims/plan
	Detail  string `json:"detail"`
	Line    int    `json:"line,omitempty"` // from 1; 0: the whole expression
	Column  int    `json:"column,omitempty"`
}

// PreviewClient reports what a rule and claims of a client would do. Nothing is signed or
// written.
func (c *Client) PreviewClient(ctx context.Context, tenant, clientID string, p PreviewParams) (*Preview, error) {
	preview := &Preview{}
	if _, err := c.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "clients", clientID, "preview"), repeat: true}, p, preview); err != nil {
		return nil, err
	}
	return preview, nil
}
