package oauth

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/settings"
)

// UnsetClaim is a custom claim that needs an attribute of the user which no trusted
// issuer of the tenant maps and no user of the file has. It is in no token, unless the
// attribute is set over the API.
type UnsetClaim struct{ Tenant, Client, Claim, Attribute string }

// String describes the claim and what to do.
func (u UnsetClaim) String() string {
	return fmt.Sprintf("the claim %s is in no token unless user.%s is set over the API: no trusted issuer maps it in user_attributes, and no user of the file has it", u.Claim, u.Attribute)
}

// UnsetClaims returns the claims of a tenant's clients that nothing in its configuration
// can yield.
func UnsetClaims(t settings.TenantSpec) (unset []UnsetClaim) {
	envs, err := expr.Environments()
	if err != nil {
		return nil
	}
	set := map[string]bool{"sub": true}
	for _, issuer := range t.TrustedIssuers {
		for name := range issuer.UserAttributes {
			set[name] = true
		}
	}
	for _, user := range t.Users {
		for name := range user.Attributes {
			set[name] = true
		}
	}
	for _, client := range t.Clients {
		for _, claim := range slices.Sorted(maps.Keys(client.Claims)) {
			for _, attribute := range envs.Claim.Requires(client.Claims[claim], "user") {
				if !set[attribute] {
					unset = append(unset, UnsetClaim{t.ID, client.ID, claim, attribute})
				}
			}
		}
	}
	return unset
}

// UnsetClaimNotes returns what [UnsetClaims] finds, as notes about each client.
func UnsetClaimNotes(t settings.TenantSpec) map[string][]string {
	notes := map[string][]string{}
	for _, u := range UnsetClaims(t) {
		notes[u.Client] = append(notes[u.Client], u.String())
	}
	return notes
}

// UnsetClaims returns those of the enabled tenants in the database. The file is the one
// whose users count.
func (s *Server) UnsetClaims(ctx context.Context, file []settings.TenantSpec) (unset []UnsetClaim, err error) {
	revisions, err := s.store.TenantRevisions(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(revisions)) {
		config, err := s.store.TenantConfig(ctx, id)
		if err != nil {
			return nil, err
		}
		if !config.Enabled() {
			continue
		}
		t := settings.TenantSpec{ID: id}
		for _, row := range config.Issuers {
			t.TrustedIssuers = append(t.TrustedIssuers, settings.IssuerSpec{IssuerSettings: row.Settings})
		}
		for _, row := range config.Clients {
			t.Clients = append(t.Clients, settings.ClientSpec{ID: row.ID, ClientSettings: row.Settings})
		}
		for _, f := range file {
			if f.ID == id {
				t.Users = f.Users
			}
		}
		unset = append(unset, UnsetClaims(t)...)
	}
	return unset, nil
}
