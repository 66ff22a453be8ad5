package models_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// TestMerge has a row for each way in which a document may treat one key, of an
// object that is new, stored or owned by the file of serve.
func TestMerge(t *testing.T) {
	const isStored, isNull, isValue = `"kept"`, "null", `"written"`
	for _, kind := range []struct {
		name string
		key  string
		spec func(text string, written settings.Written) settings.TenantSpec // text: of the value; empty: none
		read func(w *fixture) string
	}{
		{"client", "name", func(text string, written settings.Written) settings.TenantSpec {
			c := settings.ClientSpec{ID: "other", ClientSettings: settings.ClientSettings{Auth: settings.AuthNone, Name: text}}
			c.Written = written
			return settings.TenantSpec{ID: acme, Clients: []settings.ClientSpec{c}}
		}, func(w *fixture) string { return w.document("SELECT settings FROM clients WHERE id = 'other'")["name"] }},
		{"trusted issuer", "typ", func(text string, written settings.Written) settings.TenantSpec {
			e := entry("https://other.example.com", "other:")
			e.Typ, e.Written = text, written
			return settings.TenantSpec{ID: acme, TrustedIssuers: []settings.IssuerSpec{e}}
		}, func(w *fixture) string {
			return w.document("SELECT settings FROM trusted_issuers WHERE entry_id = 'other-example-com'")["typ"]
		}},
		{"tenant", "signing_algorithm", func(text string, written settings.Written) settings.TenantSpec {
			s := settings.TenantSpec{ID: "other", SigningAlgorithm: map[string]string{"kept": "ES256", "written": "Ed25519"}[text]}
			s.Written = written
			return s
		}, func(w *fixture) string {
			return map[string]string{`"ES256"`: isStored, `"Ed25519"`: isValue}[w.document("SELECT settings FROM tenants WHERE id = 'other'")["signing_algorithm"]]
		}},
		{"user", "disabled", func(text string, written settings.Written) settings.TenantSpec {
			u := settings.UserSpec{Sub: "other", Disabled: text != ""}
			u.Written = written
			return settings.TenantSpec{ID: acme, Users: []settings.UserSpec{u}}
		}, func(w *fixture) string {
			if u, err := w.User(w.Context(), acme, "other"); err == nil && u.Disabled {
				return "true"
			}
			return ""
		}},
	} {
		for _, row := range []struct {
			given, state string
			replace      bool
			want         string
		}{
			{"", "new", false, ""}, {isNull, "new", false, ""}, {isValue, "new", false, isValue},
			{"", "new", true, ""}, {isNull, "new", true, ""}, {isValue, "new", true, isValue},
			{"", "stored", false, isStored}, {isNull, "stored", false, ""}, {isValue, "stored", false, isValue},
			{"", "stored", true, ""}, {isNull, "stored", true, ""}, {isValue, "stored", true, isValue},
			{"", "owned", false, "refused"}, {isNull, "owned", false, "refused"}, {isValue, "owned", false, "refused"},
			{"", "owned", true, "refused"}, {isNull, "owned", true, "refused"}, {isValue, "owned", true, "refused"},
		} {
			how := map[string]string{"": "absent", isNull: "null", isValue: "a value"}[row.given]
			name := strings.Join([]string{kind.name, how, row.state, map[bool]string{true: "replaced", false: "merged"}[row.replace]}, ", ")
			t.Run(name, func(t *testing.T) {
				each := each
				if row.state != "stored" { // the engines differ in how they change what they have
					each = func(t *testing.T, test func(t *testing.T, w *fixture)) { test(t, newFixture(t, testdb.SQLite(t))) }
				}
				each(t, func(t *testing.T, w *fixture) {
					switch row.state {
					case "stored":
						w.apply(kind.spec("kept", nil))
					case "owned":
						w.start(version(0, "a"), kind.spec("kept", nil))
					}
					written := settings.Written{"id": true, "auth": true, "issuer": true, "token_type": true, "keys": true, "subject_prefix": true, "sub": true}
					text := ""
					if row.given != "" {
						written[kind.key] = row.given == isValue
					}
					if row.given == isValue {
						text = "written"
					}
					wanted := []settings.TenantSpec{kind.spec(text, written)}
					dry, err := w.Apply(t.Context(), wanted, secrets{}, models.ApplyOptions{Replace: row.replace, DryRun: true})
					before := kind.read(w)
					made, madeErr := w.Apply(t.Context(), wanted, secrets{}, models.ApplyOptions{Replace: row.replace})
					if (err == nil) != (madeErr == nil) || printed(dry) != printed(made) {
						t.Errorf("the dry run reports %v\n%s\nthe real run %v\n%s", err, printed(dry), madeErr, printed(made))
					}
					want := row.want
					if kind.name == "user" && (want == isStored || want == isValue) {
						want = "true"
					}
					// A tenant without keys only locates the objects in it.
					contained := kind.name == "tenant" && row.given == "" && !row.replace
					var faults settings.Faults
					switch {
					case want == "refused" && contained:
						want = isStored
						must(t, madeErr)
					case want == "refused":
						want = before
						if !errors.As(madeErr, &faults) {
							t.Errorf("not refused: %v", madeErr)
						}
					default:
						must(t, madeErr)
					}
					if got := kind.read(w); got != want {
						t.Errorf("stored %q, want %q", got, want)
					}
					if madeErr == nil {
						if again, err := w.Apply(t.Context(), wanted, secrets{}, models.ApplyOptions{Replace: row.replace}); err != nil || len(again) != 0 {
							t.Errorf("the second time: %v\n%s", err, printed(again))
						}
					}
				})
			})
		}
	}
}

// document reads a stored document as it is.
func (w *fixture) document(query string) map[string]string {
	w.Helper()
	var text string
	if err := w.db.QueryRowContext(w.Context(), query).Scan(&text); errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if must(w, err); text == "" {
		return nil
	}
	var raw map[string]json.RawMessage
	must(w, json.Unmarshal([]byte(text), &raw))
	doc := map[string]string{}
	for key, v := range raw {
		doc[key] = string(v)
	}
	return doc
}

func TestAFileChangesOnlyTheKeysThatItContains(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		store, day := false, span(24*3600*1e9)
		full := tenant()
		full.Disabled, full.StoreDevice, full.SigningAlgorithm = true, &store, "ES256"
		full.ACR = []settings.ACRClass{{Value: "low", When: "true"}}
		full.Clients[0].Allow, full.Clients[0].Scopes, full.Clients[0].Preset, full.Clients[0].AccessTokenTTL = "token.ok", []string{"a"}, "mobile", day
		w.apply(full)
		small := settings.TenantSpec{ID: acme, Clients: []settings.ClientSpec{
			{ID: "web", ClientSettings: settings.ClientSettings{Origins: []string{"https://app.example.com"}}},
			{ID: "added", ClientSettings: settings.ClientSettings{Auth: settings.AuthNone}},
		}}
		changes, err := w.Apply(t.Context(), []settings.TenantSpec{small}, secrets{}, models.ApplyOptions{})
		must(t, err)
		const want = `~ default/client web
    origins: ["https://app.example.com"]
    ! loosens: new origin "https://app.example.com"
    ! kept from before, looser than the default: access_token_ttl is longer, 1d instead of 5m
    ! kept from before, looser than the default: absolute_lifetime is longer, 180d instead of 30d
    ! kept from before, looser than the default: inactivity_timeout is longer, none instead of 5d
    ! kept from before, looser than the default: refresh_grace is longer, 1m instead of 10s
+ default/client added
    auth: "none"
`
		if said := printed(changes); said != want {
			t.Errorf("difference\n%swant\n%s", said, want)
		}
		c := w.config()
		if !c.Disabled || c.StoreDevice || c.SigningAlgorithm != "ES256" || len(c.ACR) != 1 || c.Clients[2].Settings.Allow != "token.ok" {
			t.Errorf("it changed more: %+v, %+v", c.Tenant, c.Clients[2].Settings)
		}
		preset := settings.TenantSpec{ID: acme, Clients: []settings.ClientSpec{{ID: "web", ClientSettings: settings.ClientSettings{Preset: "aal2"}}}}
		changes, err = w.Apply(t.Context(), []settings.TenantSpec{preset}, secrets{}, models.ApplyOptions{})
		must(t, err)
		if said := printed(changes); !strings.HasPrefix(said, "~ default/client web\n    access_token_ttl: \"1d\" → (default)\n    preset: \"mobile\" → \"aal2\"\n") {
			t.Errorf("another preset\n%s", said)
		}
	})
}

func TestAPreviousSecretEndsOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		spec := tenant()
		back := settings.ClientSpec{ID: "back", Secret: strings.Repeat("n", 32), PreviousSecret: strings.Repeat("o", 32), ClientSettings: settings.ClientSettings{Auth: settings.AuthSecret}}
		spec.Clients = []settings.ClientSpec{back}
		row := func() models.Client { return w.config().Clients[0] }
		w.apply(spec)
		ends := w.Now().Add(7 * 24 * time.Hour)
		if c := row(); !c.PreviousUntil.Equal(ends) || !c.PreviousAccepted(ends.Add(-time.Second)) || c.PreviousAccepted(ends) {
			t.Errorf("it ends at %v, want %v", c.PreviousUntil, ends)
		}
		w.clock.Advance(30 * 24 * time.Hour)
		if w.apply(spec); !row().PreviousUntil.Equal(ends) {
			t.Error("the same file begins it again")
		}
		until, err := settings.ParseUntil("1d")
		must(t, err)
		spec.Clients[0].PreviousUntil = &until
		if w.apply(spec); !row().PreviousUntil.Equal(w.Now().Add(24 * time.Hour)) {
			t.Errorf("with previous_until it ends at %v", row().PreviousUntil)
		}
		spec.Clients[0] = settings.ClientSpec{ID: "back", ClientSettings: settings.ClientSettings{Auth: settings.AuthNone}}
		_, err = w.Apply(t.Context(), []settings.TenantSpec{{ID: acme, Clients: spec.Clients}}, secrets{}, models.ApplyOptions{})
		must(t, err)
		if c := row(); c.SecretDigest.Digest != nil || c.PreviousDigest.Digest != nil || !c.PreviousUntil.IsZero() {
			t.Errorf("a public client keeps secrets: %+v", c)
		}
	})
}
