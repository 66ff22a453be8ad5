package oauth

import (
	"testing"

	"github.com/latchkey/latchkey/settings"
)

func TestAnUnsetClaimNeedsAnAttributeThatNothingSets(t *testing.T) {
	for text, want := range map[string]int{
		"user.plan": 1, "'a:' + user.plan": 1, "[user.plan, user.tier]": 2, "user.plan.name": 1,
		"user.sub": 0, "user.mapped": 0, "user.given": 0, "'fixed'": 0, "session.amr": 0,
		"has(user.plan) ? user.plan : 'free'": 0, "user.?plan.orValue('free')": 0, "'plan' in user ? user.plan : 'free'": 0,
		"user.plan == 'a' || user.given == 'b'": 0, "user.": 0,
	} {
		unset := UnsetClaims(settings.TenantSpec{
			ID:             "default",
			TrustedIssuers: []settings.IssuerSpec{{IssuerSettings: settings.IssuerSettings{UserAttributes: map[string]string{"mapped": "token.x"}}}},
			Users:          []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"given": true}}},
			Clients:        []settings.ClientSpec{{ID: "web", ClientSettings: settings.ClientSettings{Claims: map[string]string{"plan": text}}}},
		})
		if len(unset) != want {
			t.Errorf("%s: %v, want %d", text, unset, want)
		}
	}
}
