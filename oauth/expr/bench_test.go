package expr

import (
	"fmt"
	"testing"
)

// BenchmarkExpression evaluates expressions as operators write them.
func BenchmarkExpression(b *testing.B) {
	groups := make([]any, 100)
	for i := range groups {
		groups[i] = fmt.Sprintf("group-%03d", i)
	}
	variables := map[string]any{"token": map[string]any{
		"sub": "auth0|1234567890", "email": "Alice@Example.com", "email_verified": true, "plan": "pro", "groups": groups,
		"roles": []any{"admin", "editor"}, "address": map[string]any{"city": "Bern", "country": "CH"},
	}}
	for _, row := range []struct{ name, text string }{
		{"claim", `token.sub`},
		{"default", `has(token.plan) ? token.plan : 'free'`},
		{"policy", `string(token.?email_verified.orValue(false)) == 'true' && token.email.endsWith('@Example.com')`},
		{"member", `'group-099' in token.groups`},
		{"text", `token.email.lowerAscii().split('@')[1] + '/' + token.sub.replace('auth0|', '')`},
		{"object", `{'city': token.address.city, 'roles': token.roles + ['user'], 'n': size(token.groups)}`},
		{"sets", `sets.intersects(token.roles, ['admin', 'owner'])`},
		{"join", `token.groups.join(' ')`},
		{"filter", `token.groups.filter(g, g.startsWith('group-0') && !(g in token.roles))`},
		{"map", `token.groups.map(g, {'name': g, 'kind': 'group'})`},
		{"matches", `token.email.matches('^[A-Za-z0-9._-]{1,64}@[A-Za-z.]+$')`},
	} {
		b.Run(row.name, func(b *testing.B) {
			envs, err := Environments()
			if err != nil {
				b.Fatal(err)
			}
			e, err := envs.Issuer.Compile(row.text, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Evaluate(variables); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
