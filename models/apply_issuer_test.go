package models_test

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/models"
)

// Sessions refer to the entry that vouched for them, so an entry that changes
// must stay the same row.
func TestApplyPairsIssuerEntriesWithTheirRows(t *testing.T) {
	idToken := func(s models.IssuerSpec) models.IssuerSpec { s.TokenType = models.TokenTypeIDToken; return s }
	const a, b = "https://a.example.com", "https://b.example.com"
	for name, c := range map[string]struct {
		before, after []models.IssuerSpec
		same          []int // at each place of after: which entry of before it is, -1 for a new one
	}{
		"the same": {
			[]models.IssuerSpec{entry(a, "a:", "x", "y")}, []models.IssuerSpec{entry(a, "a:", "x", "y")}, []int{0}},
		"audiences in another order": {
			[]models.IssuerSpec{entry(a, "a:", "x", "y")}, []models.IssuerSpec{entry(a, "a:", "y", "x")}, []int{0}},
		"other audiences": {
			[]models.IssuerSpec{entry(a, "a:", "x")}, []models.IssuerSpec{entry(a, "a:", "y")}, []int{0}},
		"audiences that had been the default": {
			[]models.IssuerSpec{entry(a, "a:")}, []models.IssuerSpec{entry(a, "a:", "y")}, []int{0}},
		"another issuer": {
			[]models.IssuerSpec{entry(a, "a:", "x")}, []models.IssuerSpec{entry(b, "b:", "x")}, []int{-1}},
		"another kind of token": {
			[]models.IssuerSpec{entry(a, "a:", "x")}, []models.IssuerSpec{idToken(entry(a, "b:", "x"))}, []int{-1}},
		"two entries in another order": {
			[]models.IssuerSpec{entry(a, "a:", "x"), entry(a, "b:", "y")}, []models.IssuerSpec{entry(a, "b:", "y"), entry(a, "a:", "x")}, []int{1, 0}},
		"one of two with other audiences": {
			[]models.IssuerSpec{entry(a, "a:", "x"), entry(a, "b:", "y")}, []models.IssuerSpec{entry(a, "b:", "z"), entry(a, "a:", "x")}, []int{1, 0}},
		"a second entry beside the first": {
			[]models.IssuerSpec{entry(a, "a:", "x")}, []models.IssuerSpec{entry(a, "b:", "y"), entry(a, "a:", "x")}, []int{-1, 0}},
		"two entries that swap their audiences": {
			[]models.IssuerSpec{entry(a, "a:", "x"), entry(a, "b:", "y")}, []models.IssuerSpec{entry(a, "a:", "y"), entry(a, "b:", "x")}, []int{1, 0}},
		"three entries with new audiences, known by their namespaces": {
			[]models.IssuerSpec{entry(a, "a:", "x"), entry(a, "b:", "y"), entry(a, "c:", "z")},
			[]models.IssuerSpec{entry(a, "c:", "3"), entry(a, "a:", "1"), entry(a, "b:", "2")}, []int{2, 0, 1}},
		"another namespace and other audiences": {
			[]models.IssuerSpec{entry(a, "a:", "x")}, []models.IssuerSpec{entry(a, "b:", "y")}, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				w.apply(models.TenantSpec{ID: "shop", TrustedIssuers: c.before})
				before := w.entries("shop", c.before)
				w.apply(models.TenantSpec{ID: "shop", TrustedIssuers: c.after})
				created := 0
				for i, id := range w.entries("shop", c.after) {
					switch {
					case c.same[i] < 0:
						created++
					case id != before[c.same[i]]:
						t.Errorf("entry %d is another row than entry %d was", i, c.same[i])
					}
				}
				if n := w.number("SELECT count(*) FROM trusted_issuers WHERE tenant_id = 'shop'"); n != len(c.before)+created {
					t.Errorf("there are %d rows, want %d and %d new ones", n, len(c.before), created)
				}
			})
		})
	}
}

// entries gives the id of the row of each entry.
func (w *world) entries(tenant string, specs []models.IssuerSpec) []string {
	w.Helper()
	config, err := w.TenantConfig(w.Context(), tenant)
	must(w, err)
	key := func(s models.IssuerSettings) string {
		return s.Issuer + " " + s.TokenType + " " + s.SubjectPrefix + " " + strings.Join(s.Audiences, ",")
	}
	ids := make([]string, len(specs))
	for i, spec := range specs {
		for _, row := range config.Issuers {
			if key(row.Settings) == key(spec.IssuerSettings) {
				ids[i] = row.ID
			}
		}
		if ids[i] == "" {
			w.Fatalf("no row is like entry %d, %s", i, key(spec.IssuerSettings))
		}
	}
	return ids
}

func TestApplyOpensNoSharedSecretTwice(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		spec := models.TenantSpec{ID: "shop", TrustedIssuers: []models.IssuerSpec{entry("legacy", "")}}
		keys := &spec.TrustedIssuers[0].Keys
		sealed := func() string {
			config, err := w.TenantConfig(t.Context(), "shop")
			must(t, err)
			return string(config.Issuers[0].SealedSecret)
		}
		for _, secret := range []string{strings.Repeat("1", 32), strings.Repeat("2", 32)} {
			*keys = models.IssuerKeys{SharedSecret: secret}
			if changes := w.apply(spec); len(changes) == 0 || strings.Contains(printed(changes), secret) {
				t.Errorf("a new secret changes\n%s", printed(changes))
			}
			if got := sealed(); got != "sealed shop/legacy/"+secret {
				t.Errorf("sealed %q", got)
			}
		}
		*keys = models.IssuerKeys{PEM: "-----BEGIN PUBLIC KEY-----"}
		w.apply(spec)
		if got := sealed(); got != "" {
			t.Errorf("the secret is kept beside a public key: %q", got)
		}
		if changes := w.apply(spec); len(changes) != 0 {
			t.Errorf("a secret that is gone changes\n%s", printed(changes))
		}
	})
}
