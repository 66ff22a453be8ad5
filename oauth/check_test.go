package oauth

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/settings"
)

func TestCheckTenantsReportsWhatCanNeverWork(t *testing.T) {
	issuer := func(fn func(*settings.IssuerSettings)) settings.IssuerSpec {
		e := settings.IssuerSettings{Issuer: "https://auth.example.com", Keys: settings.IssuerKeys{Discovery: true}}
		fn(&e)
		return settings.IssuerSpec{IssuerSettings: e}
	}
	client := func(fn func(*settings.ClientSettings)) settings.ClientSpec {
		c := settings.ClientSettings{}
		fn(&c)
		return settings.ClientSpec{ClientSettings: c}
	}
	fine := settings.TenantSpec{
		ACR: []settings.ACRClass{
			{Value: "basic", When: "amr.size() > 0"}, {Value: "two", When: "kinds.size() > 1"}, {Value: "dyn", When: "dyn(amr)[0]"},
			{Value: "fresh", When: "factors.exists(f, f.amr in ['hwk', 'swk'] && f.kind == 'possession' && f.issuer.startsWith('https://') && f.acr != 'x' && f.age < 3600)"},
		},
		TrustedIssuers: []settings.IssuerSpec{issuer(func(e *settings.IssuerSettings) {
			e.Subject, e.UserAttributes = "token.?oid.orValue(token.sub)", map[string]string{"email": "token.email"}
			e.Keys = settings.IssuerKeys{JWKS: p256JWKS}
			e.Algorithms = []string{"RS256", "ES256"}
		}), issuer(func(*settings.IssuerSettings) {})},
		Clients: []settings.ClientSpec{client(func(c *settings.ClientSettings) {
			c.Allow, c.Claims = "user.plan == 'pro' && client.public", map[string]string{"plan": "user.plan", "device": "session.device"}
		}), client(func(*settings.ClientSettings) {})},
	}
	faulty := settings.TenantSpec{
		ACR: []settings.ACRClass{
			{Value: "a", When: "amr.size()"}, {Value: "b", When: "true"}, {Value: "c", When: "factors.exists(f, f.agee < 60)"},
			{Value: "d", When: "token.sub == 'alice'"}, {Value: "e", When: "factors.exists(f, f.age < '1h')"}, {Value: "f", When: "amr.size( > 0"},
		},
		TrustedIssuers: []settings.IssuerSpec{
			issuer(func(e *settings.IssuerSettings) {}),
			issuer(func(e *settings.IssuerSettings) {
				e.Subject = "size(token.sub)"
				e.UserAttributes = map[string]string{"a": "usr.a", "b": "token.b", "c": "user.c"}
				e.SessionAttributes = map[string]string{"d": "upper(token.d)"}
				e.Keys = settings.IssuerKeys{JWKS: json.RawMessage(`{"keys":[]}`)}
			}),
			issuer(func(e *settings.IssuerSettings) { e.Keys = settings.IssuerKeys{PEM: "not PEM"} }),
			issuer(func(e *settings.IssuerSettings) {
				e.Keys = settings.IssuerKeys{JWKS: p256JWKS}
			}),
		},
		Clients: []settings.ClientSpec{
			client(func(c *settings.ClientSettings) { c.Allow = "token.amr" }),
			client(func(c *settings.ClientSettings) { c.Allow = "'yes'" }),
			client(func(c *settings.ClientSettings) { c.Allow = "session.acr == 'phr'" }),
			client(func(c *settings.ClientSettings) {
				c.Claims = map[string]string{"email": "usr.email", "roles": "token.roles", "ok": "user.ok"}
			}),
		},
	}
	var got []string
	for _, fault := range CheckTenants([]settings.TenantSpec{fine, faulty}) {
		got = append(got, fault.String())
	}
	want := []string{
		"tenants[1].acr[0].when: yields int, but must yield bool",
		"tenants[1].acr[2].when: undefined field 'agee'",
		"tenants[1].acr[3].when: undeclared reference to 'token'",
		"tenants[1].acr[4].when: found no matching overload for '_<_' applied to '(int, string)'",
		"tenants[1].acr[5].when: is not valid CEL: extraneous input '>' expecting {'[', '{', '(', ')', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
		"tenants[1].trusted_issuers[1].subject: yields int, but must yield string",
		"tenants[1].trusted_issuers[1].user_attributes.a: undeclared reference to 'usr'",
		"tenants[1].trusted_issuers[1].user_attributes.c: undeclared reference to 'user'",
		"tenants[1].trusted_issuers[1].session_attributes.d: undeclared reference to 'upper'",
		"tenants[1].trusted_issuers[1].keys.jwks: no usable public signature key (RSA of 2048 to 8192 bits, P-256 … P-521, Ed25519)",
		"tenants[1].trusted_issuers[2].keys.pem: no PEM block",
		"tenants[1].trusted_issuers[3].algorithms: none of the keys is for RS256; list the algorithms that sign its tokens",
		"tenants[1].clients[1].allow: yields string, but must yield bool",
		"tenants[1].clients[2].allow: undeclared reference to 'session'",
		"tenants[1].clients[3].claims.email: undeclared reference to 'usr'",
		"tenants[1].clients[3].claims.roles: undeclared reference to 'token'",
	}
	if !slices.Equal(got, want) {
		t.Errorf("faults:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
