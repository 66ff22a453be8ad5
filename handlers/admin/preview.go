package admin

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// Preview reports what a rule and claims of a client would do that are not stored.
type Preview struct {
	Faults      []ExpressionFault `json:"faults" doc:"The expressions that do not compile" nullable:"false"`
	UserExists  bool              `json:"user_exists" doc:"The user exists; otherwise the user has no attributes"`
	AccessToken map[string]any    `json:"access_token" doc:"The claims of an access token of the user right after the sign-in. Claims whose expressions do not compile are absent"`
	LeftOut     map[string]string `json:"left_out,omitempty" doc:"Custom claims that would be left out, and why"`
}

// ExpressionFault is what is wrong with an expression, and where.
type ExpressionFault struct {
	Pointer string `json:"pointer" doc:"The expression in the body, as a JSON Pointer (RFC 6901)"`
	Detail  string `json:"detail" doc:"What is wrong"`
	Line    int    `json:"line,omitempty" doc:"The line, from 1; absent: the whole expression"`
	Column  int    `json:"column,omitempty" doc:"The column, from 1"`
}

type previewBody struct {
	Allow  string            `yaml:"allow"`
	Claims map[string]string `yaml:"claims"`
	Sub    string            `yaml:"sub"`
	AMR    []string          `yaml:"amr"`

	settings.Place
}

// PreviewClient reports whether the expressions compile, and the access token of a user
// right after a sign-in by amr. It writes nothing. The settings that the body leaves out
// are those of the stored client.
func (s *Service) PreviewClient(ctx context.Context, c *Caller, tenant, id string, body []byte) (*Preview, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	var b previewBody
	if err := decodeBody(body, "", &b); err != nil {
		return nil, err
	}
	var faults settings.Faults
	if b.Sub == "" || strings.ContainsRune(b.Sub, 0) {
		faults.Add("sub", "is missing or contains NUL")
	}
	if len(b.Claims) > settings.MaxClaims {
		faults.Add("claims", "must have at most %d entries", settings.MaxClaims)
	}
	if len(faults) > 0 {
		return nil, invalidBody("", faults)
	}
	stored, err := s.Store.StoredClient(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	var wanted settings.ClientSettings
	if err := stored.Settings.Decode(&wanted); err != nil {
		return nil, err
	}
	if _, given := b.Written["allow"]; given {
		wanted.Allow = b.Allow
	}
	if _, given := b.Written["claims"]; given {
		wanted.Claims = b.Claims
	}
	p, err := s.OAuth.PreviewClient(ctx, tenant, id, wanted, b.Sub, b.AMR)
	if err != nil {
		return nil, err
	}
	out := &Preview{Faults: []ExpressionFault{}, UserExists: p.Known, AccessToken: p.AccessToken, LeftOut: p.LeftOut}
	out.add(p.Allow, "allow")
	for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
		out.add(p.Claims[name], "claims", name)
	}
	return out, nil
}

// add adds the fault of the member of the body at which the path leads.
func (p *Preview) add(fault *oauth.ExpressionFault, path ...string) {
	if fault != nil {
		p.Faults = append(p.Faults, ExpressionFault{Pointer(path...), fault.Detail, fault.Line, fault.Column})
	}
}

// Fault returns the fault of the member with the pointer, or nil.
func (p *Preview) Fault(pointer string) *ExpressionFault {
	for i := range p.Faults {
		if p.Faults[i].Pointer == pointer {
			return &p.Faults[i]
		}
	}
	return nil
}
