package oauth

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// ExpressionFault is what is wrong with an expression, and where. Line and Column begin
// at 1; 0: the whole expression, such as one of a wrong type.
type ExpressionFault struct {
	Line, Column int
	Detail       string
}

// Preview is what settings of a client that are not stored would do.
type Preview struct {
	Allow  *ExpressionFault            // nil: there is no rule, or it compiles
	Claims map[string]*ExpressionFault // by claim; those that compile are absent

	Known       bool              // the user exists
	AccessToken map[string]any    // the claims of an access token of the user
	LeftOut     map[string]string // custom claims that would be left out, and why
}

// PreviewClient compiles the rule and the claims of a client, and returns the access
// token that a user would get with the claims that compile, right after a sign-in by
// amr. It writes nothing and signs nothing. ErrNotFound: there is no such tenant.
func (s *Server) PreviewClient(ctx context.Context, tenantID, id string, c settings.ClientSettings, sub string, amr []string) (*Preview, error) {
	t, err := s.registry.tenant(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	envs, err := expr.Environments()
	if err != nil {
		return nil, err
	}
	p := &Preview{Claims: map[string]*ExpressionFault{}}
	if c.Allow != "" {
		_, err := envs.Allow.Compile(c.Allow, expr.Bool)
		p.Allow = expressionFault(err)
	}
	client := &Client{Client: models.Client{TenantID: tenantID, ID: id, Settings: c}, tenant: t, claims: expr.Mapping{}}
	for name, text := range c.Claims {
		if settings.ReservedClaim(name) {
			p.Claims[name] = &ExpressionFault{Detail: "the claim has a reserved name"}
			continue
		}
		compiled, err := envs.Claim.Compile(text, nil)
		if fault := expressionFault(err); fault != nil {
			p.Claims[name] = fault
			continue
		}
		client.claims[name] = compiled
	}
	user, err := s.store.User(ctx, tenantID, sub)
	if err != nil && !errors.Is(err, models.ErrNotFound) {
		return nil, err
	}
	now := s.now()
	row := &models.Session{
		ID: models.NewSessionID(), TenantID: tenantID, ClientID: id, Subject: sub, CreatedAt: now, AuthTime: now, LastActiveAt: now,
		Scope: c.Scope(), Audience: []string{id},
	}
	row.AbsoluteExpiry, row.IdleExpiry = client.newExpiries(now)
	if user != nil {
		p.Known = true
		row.UserAttributes, row.AttributeSources = user.Attributes, user.Sources
	}
	for _, method := range amr {
		row.Factors = append(row.Factors, session.Factor{AMR: method, AuthTime: now, AddedAt: now})
	}
	proofs, _ := t.classes().Proofs(now, row.Factors)
	t.storeDecision(row, now, proofs)
	claims, expiry, custom := sessionClaims(client, row, proofs.Best(), now)
	_, p.LeftOut = complete(client, claims, row.Audience, row.Scope, now, expiry, custom)
	p.AccessToken = claims
	return p, nil
}

// expressionFault returns an error of the compiler with its place, or nil.
func expressionFault(err error) *ExpressionFault {
	if err == nil {
		return nil
	}
	var fault *expr.Fault
	if errors.As(err, &fault) {
		return &ExpressionFault{fault.Line, fault.Column, err.Error()}
	}
	return &ExpressionFault{Detail: err.Error()}
}
