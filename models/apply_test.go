package models_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// office is a separate tenant with one of everything, and with numbers and texts
// that storage could alter.
func office() settings.TenantSpec {
	return settings.TenantSpec{
		ID: "office", SigningAlgorithm: "ES256", ACR: []settings.ACRClass{{Value: "low", When: "amr.size() > 0"}, {Value: "high", When: "factors.exists(f, f.age < 60)"}},
		Clients: []settings.ClientSpec{
			{ID: "app", Secret: strings.Repeat("s", 32), PreviousSecret: strings.Repeat("p", 32), ClientSettings: settings.ClientSettings{
				Auth: settings.AuthSecret, Grants: []string{settings.GrantTokenExchange}, Preset: "aal2", RefreshGrace: span(0),
				MaxSessionsPerUser: &settings.SessionCap{Limit: 3, WhenFull: settings.Reject},
				Allow:              `token.age < 3 && token.ok`, Claims: map[string]string{"a.b": "1", "é": "2"}, DefaultScopes: &[]string{},
			}},
			{ID: "api", Secret: strings.Repeat("a", 32), ClientSettings: settings.ClientSettings{Auth: settings.AuthSecret}},
		},
		TrustedIssuers: []settings.IssuerSpec{
			entry("https://auth.example.com", "a:", "one"),
			{IssuerSettings: settings.IssuerSettings{
				Issuer: "legacy", TokenType: settings.TokenTypeJWT, SubjectPrefix: "b:", MaxAge: span(time.Hour), Asserts: &[]string{},
				Keys: settings.IssuerKeys{SharedSecret: strings.Repeat("h", 32)},
			}},
			{IssuerSettings: settings.IssuerSettings{
				Issuer: "inline", TokenType: settings.TokenTypeJWT, SubjectPrefix: "c:",
				Keys: settings.IssuerKeys{JWKS: []byte(`{ "keys": [ {"kty":"RSA", "n":"a<b&c"} ] }`)},
			}},
		},
		Users: []settings.UserSpec{
			{Sub: "bob", Attributes: map[string]any{
				"id": 1<<53 + 1, "vast": uint64(1<<64 - 1), "half": 0.5, "none": nil, "deep": map[string]any{"b": []any{1, "<"}, "a": nil},
			}},
			{Sub: "eve", Disabled: true},
		},
	}
}

func TestApplyTwiceChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		if n := len(w.apply(office())); n != 8 {
			t.Errorf("it made %d things, want a tenant, 2 clients, 3 issuers and 2 users", n)
		}
		before, revisions := w.rows(), w.revision("office")
		if changes := w.apply(office()); len(changes) != 0 {
			t.Errorf("the second time it changed\n%s", printed(changes))
		}
		w.wantRows(before)
		if again := w.revision("office"); again != revisions {
			t.Errorf("the revision went from %d to %d without a change", revisions, again)
		}
	})
}

func TestApplyStoresWhatTheFileSays(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.apply(office())
		config, err := w.TenantConfig(t.Context(), "office")
		must(t, err)
		app := config.Clients[slices.IndexFunc(config.Clients, func(c models.Client) bool { return c.ID == "app" })]
		if !slices.Equal(config.ACR, office().ACR) {
			t.Errorf("classes %+v", config.ACR)
		}
		if p := app.Settings.Policy(); config.SigningAlgorithm != "ES256" || p.IdleTimeout != time.Hour || p.RefreshGrace != 0 || *app.Settings.MaxSessionsPerUser != (settings.SessionCap{Limit: 3, WhenFull: settings.Reject}) {
			t.Errorf("the tenant signs with %s, the client has %+v and %+v", config.SigningAlgorithm, p, app.Settings)
		}
		if string(app.SecretDigest.Digest) != "office/app/"+strings.Repeat("s", 32) || app.SecretDigest.RootVersion != 2 || app.PreviousDigest.Digest == nil {
			t.Errorf("digests %+v and %+v", app.SecretDigest, app.PreviousDigest)
		}
		for _, issuer := range config.Issuers {
			if shared := issuer.Settings.Issuer == "legacy"; shared != (issuer.SealedSecret != nil) || issuer.Settings.Keys.SharedSecret != "" {
				t.Errorf("issuer %s has the sealed secret %q and the open one %q", issuer.Settings.Issuer, issuer.SealedSecret, issuer.Settings.Keys.SharedSecret)
			}
		}
		eve, err := w.User(t.Context(), "office", "eve")
		must(t, err)
		bob, err := w.User(t.Context(), "office", "bob")
		must(t, err)
		if !eve.Disabled || bob.Disabled || bob.Attributes["id"] != int64(1<<53+1) || bob.Attributes["half"] != 0.5 {
			t.Errorf("users %+v and %+v", eve, bob)
		}
		if n := w.number("SELECT count(*) FROM clients WHERE settings LIKE '%ssss%'"); n != 0 {
			t.Error("a secret is stored in the settings")
		}
	})
}

func TestApplyDryRunReportsAllAndChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before, revision := w.rows(), w.revision(acme)
		changed := tenant()
		changed.Clients[0].Name, changed.SigningAlgorithm = "Web", "ES256"
		wanted := []settings.TenantSpec{changed, office()}
		dry, err := w.Apply(t.Context(), wanted, secrets{}, models.ApplyOptions{Replace: true, DryRun: true})
		must(t, err)
		w.wantRows(before)
		if again := w.revision(acme); again != revision || w.config().SigningAlgorithm != "RS256" {
			t.Errorf("a dry run moved the revision from %d to %d", revision, again)
		}
		if real := w.apply(wanted...); printed(real) != printed(dry) || len(real) == 0 {
			t.Errorf("the dry run reports\n%s\nthe real run\n%s", printed(dry), printed(real))
		}
	})
}

func TestApplyLeavesWhatTheFileDoesNotName(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.apply(office())
		before := w.rows()
		if changes := w.apply(settings.TenantSpec{ID: "office", SigningAlgorithm: "ES256", ACR: office().ACR, Users: []settings.UserSpec{{Sub: "bob", Attributes: map[string]any{"half": 0.25}}}}); len(changes) != 1 {
			t.Errorf("it changed\n%s", printed(changes))
		}
		w.wantRows(before)
		bob, err := w.User(t.Context(), "office", "bob")
		must(t, err)
		if bob.Attributes["half"] != 0.25 || bob.Attributes["id"] != int64(1<<53+1) {
			t.Errorf("attributes %v", bob.Attributes)
		}
	})
}

// A stored object that the file does not name may conflict.
func TestApplyRejectsCollisionsAndRollsEverythingBack(t *testing.T) {
	for name, c := range map[string]struct {
		spec settings.TenantSpec
		want string
	}{
		"a user with the id of a stored client": {settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "web"}}},
			"tenants[1].users[0].sub: is the id of a client (user web)"},
		"a client with the id of a stored user": {settings.TenantSpec{ID: acme, Clients: []settings.ClientSpec{{ID: "alice", ClientSettings: settings.ClientSettings{Auth: settings.AuthNone}}}},
			`tenants[1].clients[0].id: "alice" is the id of a user of this tenant (client alice)`},
		"an issuer in a stored one's namespace": {settings.TenantSpec{ID: acme, TrustedIssuers: []settings.IssuerSpec{entry("https://b.example.com", "")}},
			`tenants[1].trusted_issuers[0].subject_prefix: is the same as tenants[1].trusted_issuers["auth-example-com"].subject_prefix: to share a namespace, each entry needs share_subjects: true (trusted issuer b-example-com)`},
		"an issuer whose namespace begins like another's": {settings.TenantSpec{ID: acme, TrustedIssuers: []settings.IssuerSpec{entry("https://c.example.com", "ab")}},
			`tenants[1].trusted_issuers[0].subject_prefix: overlaps tenants[1].trusted_issuers["z-example-com"].subject_prefix: neither may begin with the other (trusted issuer c-example-com)`},
		"classes without the max_acr of a stored issuer": {settings.TenantSpec{ID: acme, ACR: []settings.ACRClass{{Value: "low", When: "true"}}},
			`tenants[1].trusted_issuers["z-example-com"].max_acr: must be one of low (trusted issuer z-example-com, stored and not in the file)`},
		"a tenant that was pruned": {settings.TenantSpec{ID: "gone"},
			`tenants[1].id: the id "gone" belonged to a tenant that was removed, and is never used again`},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				z := entry("https://z.example.com", "abc")
				z.MaxACR = "phr"
				w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice"}}, TrustedIssuers: []settings.IssuerSpec{z}},
					settings.TenantSpec{ID: "gone"})
				w.exec("UPDATE tenants SET pruned_at = 1 WHERE id = 'gone'")
				w.clock.Advance(time.Hour) // what is added now comes last
				before, revision := w.rows(), w.revision(acme)
				changes, err := w.Apply(t.Context(), []settings.TenantSpec{office(), c.spec}, secrets{}, models.ApplyOptions{Replace: true})
				var faults settings.Faults
				if !errors.As(err, &faults) || faults.Error() != c.want || changes != nil {
					t.Errorf("rejected with %v, want %s", err, c.want)
				}
				w.wantRows(before)
				if again := w.revision(acme); again != revision {
					t.Errorf("the revision went from %d to %d", revision, again)
				}
			})
		})
	}
}

func (w *fixture) revision(tenant string) int64 {
	w.Helper()
	revisions, err := w.TenantRevisions(w.Context())
	must(w, err)
	return revisions[tenant]
}

// The version that a caller compares is the one that the removal locks.
func TestARemovalOfATenantChecksItsPrecondition(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.apply(tenant(), settings.TenantSpec{ID: "other"})
		stored, err := w.StoredTenant(t.Context(), "other")
		must(t, err)
		remove := func(check func(version string) error) error {
			_, err := w.Apply(t.Context(), nil, secrets{}, models.ApplyOptions{Remove: []models.Ref{{Kind: models.KindTenant, Tenant: "other", ID: "other"}}, Precondition: check})
			return err
		}
		refused, seen := errors.New("refused"), ""
		if err := remove(func(version string) error { seen = version; return refused }); !errors.Is(err, refused) || seen != stored.Version() {
			t.Errorf("returned %v for version %q, want %q", err, seen, stored.Version())
		}
		if _, err := w.StoredTenant(t.Context(), "other"); err != nil {
			t.Errorf("the tenant: %v", err)
		}
		must(t, remove(func(string) error { return nil }))
		if _, err := w.StoredTenant(t.Context(), "other"); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("after the removal: %v", err)
		}
	})
}
