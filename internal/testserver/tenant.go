package testserver

import (
	"github.com/latchkey/latchkey/settings"
)

// Web returns a public client with a refresh token, for most tests.
func Web() settings.ClientSpec {
	return settings.ClientSpec{ID: "web", ClientSettings: settings.ClientSettings{
		Auth: settings.AuthNone, Grants: []string{settings.GrantTokenExchange, settings.GrantRefresh},
		Scopes: []string{"profile", "orders:read"}, Audiences: []string{"https://api.example.com", "https://files.example.com"},
		Origins: []string{"https://app.example.com"},
	}}
}

// Backend returns a secret client that may do everything and introspect every token.
func Backend() settings.ClientSpec {
	return settings.ClientSpec{ID: "backend", Secret: ClientSecret, ClientSettings: settings.ClientSettings{
		Auth: settings.AuthSecret, Grants: []string{settings.GrantTokenExchange, settings.GrantRefresh, settings.GrantClientCredentials},
		Introspect: settings.IntrospectAll, SessionToken: true, Scopes: []string{"profile", "orders:read"},
	}}
}

// Tenant returns a tenant that trusts the issuer, with the clients.
func Tenant(id string, issuer *Issuer, clients ...settings.ClientSpec) settings.TenantSpec {
	return settings.TenantSpec{ID: id, TrustedIssuers: []settings.IssuerSpec{issuer.Entry()}, Clients: clients}
}

// Exchange exchanges a client token at a public client.
func (s *Server) Exchange(base, client, token string, extra ...string) *Answer {
	s.t.Helper()
	return s.Post(base+"/token", append([]string{
		"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "client_id", client,
		"subject_token_type", "urn:ietf:params:oauth:token-type:jwt", "subject_token", token,
	}, extra...))
}

// Refresh uses a refresh token at a public client.
func (s *Server) Refresh(base, client, token string, extra ...string) *Answer {
	s.t.Helper()
	return s.Post(base+"/token", append([]string{"grant_type", "refresh_token", "client_id", client, "refresh_token", token}, extra...))
}

// Introspect introspects a token as the client Backend.
func (s *Server) Introspect(base, token string) *Answer {
	s.t.Helper()
	return s.Post(base+"/introspect", []string{"token", token}, Basic("backend", ClientSecret))
}
