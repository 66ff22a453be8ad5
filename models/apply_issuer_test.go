package models_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/settings"
)

// Sessions refer to the entry that vouched for their user, so an entry that
// changes must stay the same row.
func TestApplyIdentifiesAnEntryByItsIDAlone(t *testing.T) {
	idToken := func(s settings.IssuerSpec) settings.IssuerSpec { s.TokenType = settings.TokenTypeIDToken; return s }
	named := func(id string, s settings.IssuerSpec) settings.IssuerSpec { s.ID = id; return s }
	const a, b = "https://a.example.com", "https://b.example.com"
	for name, c := range map[string]struct {
		before, after []settings.IssuerSpec
		same          []int // at each place of after: which entry of before it is, -1 for a new one
	}{
		"the same": {
			[]settings.IssuerSpec{entry(a, "a:", "x", "y")}, []settings.IssuerSpec{entry(a, "a:", "x", "y")}, []int{0}},
		"other audiences and another namespace": {
			[]settings.IssuerSpec{entry(a, "a:", "x")}, []settings.IssuerSpec{entry(a, "b:", "y")}, []int{0}},
		"another kind of token": {
			[]settings.IssuerSpec{entry(a, "a:", "x")}, []settings.IssuerSpec{idToken(entry(a, "a:", "x"))}, []int{0}},
		"another issuer with the same id": {
			[]settings.IssuerSpec{named("one", entry(a, "a:"))}, []settings.IssuerSpec{named("one", entry(b, "a:"))}, []int{0}},
		"another issuer without an id": {
			[]settings.IssuerSpec{entry(a, "a:", "x")}, []settings.IssuerSpec{entry(b, "b:", "x")}, []int{-1}},
		"the id that is made from the host, written out": {
			[]settings.IssuerSpec{entry(a, "a:")}, []settings.IssuerSpec{named("a-example-com", entry(a, "a:"))}, []int{0}},
		"another id for the same issuer": {
			[]settings.IssuerSpec{named("one", entry(a, "a:", "x"))}, []settings.IssuerSpec{named("one", entry(a, "a:", "x")), named("two", entry(a, "b:", "y"))}, []int{0, -1}},
		"two entries that swap everything but their ids": {
			[]settings.IssuerSpec{named("one", entry(a, "a:", "x")), named("two", entry(a, "b:", "y"))},
			[]settings.IssuerSpec{named("two", entry(a, "a:", "x")), named("one", entry(a, "b:", "y"))}, []int{1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				w.apply(settings.TenantSpec{ID: "shop", TrustedIssuers: c.before})
				before := w.entries("shop", c.before)
				w.apply(settings.TenantSpec{ID: "shop", TrustedIssuers: c.after})
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

// entries returns the row id of each entry.
func (w *fixture) entries(tenant string, specs []settings.IssuerSpec) []string {
	w.Helper()
	config, err := w.TenantConfig(w.Context(), tenant)
	must(w, err)
	ids := make([]string, len(specs))
	for i, spec := range specs {
		for _, row := range config.Issuers {
			if row.EntryID == spec.EntryID() {
				ids[i] = row.ID
			}
		}
		if ids[i] == "" {
			w.Fatalf("no row has the id %s", spec.EntryID())
		}
	}
	return ids
}

// Rows of an earlier release have no id. They get one from their issuer's host,
// the same on every node, and keep the row that sessions refer to.
func TestAnEntryOfAnEarlierReleaseGetsAnID(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		named := func(id string, s settings.IssuerSpec) settings.IssuerSpec { s.ID = id; return s }
		specs := []settings.IssuerSpec{
			named("one", entry("https://login.example.com/v2", "a:", "x")), named("two", entry("https://login.example.com:8443", "b:", "x")),
			named("three", entry("https://login.example.com/v2", "c:", "y")), named("four", entry("Legacy Service", "d:")),
		}
		specs[3].Keys = settings.IssuerKeys{JWKSURI: "https://login.example.com/keys"}
		for _, spec := range specs {
			w.apply(settings.TenantSpec{ID: "shop", TrustedIssuers: []settings.IssuerSpec{spec}})
			w.clock.Advance(time.Second)
		}
		rows := w.entries("shop", specs)
		want := []string{"login-example-com", "login-example-com-8443", "login-example-com-2", "legacy-service"}
		w.exec("UPDATE trusted_issuers SET entry_id = NULL WHERE tenant_id = 'shop'")
		for when, settle := range map[string]func(){
			"read before anything is written": func() {},
			"after a migration":               func() { must(t, w.Migrate(t.Context())) },
			"after an apply":                  func() { w.apply(settings.TenantSpec{ID: "shop"}) },
		} {
			if settle(); when != "read before anything is written" {
				if n := w.number("SELECT count(*) FROM trusted_issuers WHERE entry_id IS NULL"); n != 0 {
					t.Errorf("%s, %d entries have no id", when, n)
				}
				w.exec("UPDATE trusted_issuers SET entry_id = NULL WHERE tenant_id = 'shop'")
			}
			config, err := w.TenantConfig(t.Context(), "shop")
			must(t, err)
			for i, row := range config.Issuers {
				if row.EntryID != want[i] || row.ID != rows[i] {
					t.Errorf("%s, entry %d is row %s with the id %q, want row %s with %q", when, i, row.ID, row.EntryID, rows[i], want[i])
				}
			}
		}
	})
}

func TestApplyResealsNoUnchangedSharedSecret(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		spec := settings.TenantSpec{ID: "shop", TrustedIssuers: []settings.IssuerSpec{entry("legacy", "")}}
		keys := &spec.TrustedIssuers[0].Keys
		sealed := func() string {
			config, err := w.TenantConfig(t.Context(), "shop")
			must(t, err)
			return string(config.Issuers[0].SealedSecret)
		}
		for _, secret := range []string{strings.Repeat("1", 32), strings.Repeat("2", 32)} {
			*keys = settings.IssuerKeys{SharedSecret: secret}
			if changes := w.apply(spec); len(changes) == 0 || strings.Contains(printed(changes), secret) {
				t.Errorf("a new secret changes\n%s", printed(changes))
			}
			if got := sealed(); got != "sealed shop/legacy/"+secret {
				t.Errorf("sealed %q", got)
			}
		}
		*keys = settings.IssuerKeys{PEM: "-----BEGIN PUBLIC KEY-----"}
		w.apply(spec)
		if got := sealed(); got != "" {
			t.Errorf("the secret is kept in addition to a public key: %q", got)
		}
		if changes := w.apply(spec); len(changes) != 0 {
			t.Errorf("a secret that is gone changes\n%s", printed(changes))
		}
	})
}
