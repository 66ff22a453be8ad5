package models_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// mapped is the contribution of a token of some entry, for every name that the
// entry maps.
func mapped(values map[string]any, mapsToo ...string) models.Mapped {
	return mappedBy("idp", "1", values, mapsToo...)
}

func mappedBy(entry, since string, values map[string]any, mapsToo ...string) models.Mapped {
	m := models.Mapped{Entry: entry, Values: values, Sources: map[string]string{}}
	for name := range values {
		m.Sources[name] = "issuer:" + entry + ":" + since
	}
	for _, name := range mapsToo {
		m.Sources[name] = "issuer:" + entry + ":" + since
	}
	return m
}

func TestASignInUpdatesAttributesBySource(t *testing.T) {
	admin := map[string]any{"role": "admin"}
	for name, c := range map[string]struct {
		source string // of a stored role "user"; "none": there is none
		token  models.Mapped
		want   any
		set    string // the source afterwards
	}{
		"the first sign-in sets it":                                 {"none", mapped(admin), "admin", "issuer:idp:1"},
		"the entry that set it sets it again":                       {"issuer:idp:1", mapped(admin), "admin", "issuer:idp:1"},
		"the entry that set it yields nothing":                      {"issuer:idp:1", mapped(nil, "role"), nil, ""},
		"the entry that set it under an earlier mapping":            {"issuer:idp:0", mapped(nil, "role"), nil, ""},
		"the entry that set it does not map it any more":            {"issuer:idp:1", mapped(nil, "email"), nil, ""},
		"another entry sets it":                                     {"issuer:other:1", mapped(admin), "admin", "issuer:idp:1"},
		"another entry set it, this one yields nothing":             {"issuer:other:1", mapped(nil, "role"), "user", "issuer:other:1"},
		"another entry set it, whose id begins like this one's":     {"issuer:idp2:1", mapped(nil, "role"), "user", "issuer:idp2:1"},
		"another entry set it, this one does not map it":            {"issuer:other:1", mapped(nil), "user", "issuer:other:1"},
		"the file set it":                                           {"file", mapped(admin), "user", "file"},
		"the file set it, the entry yields nothing":                 {"file", mapped(nil, "role"), "user", "file"},
		"an operator set it":                                        {"operator", mapped(admin), "user", "operator"},
		"an operator set it, the entry yields nothing":              {"operator", mapped(nil, "role"), "user", "operator"},
		"nobody knows who set it, the entry sets it":                {"", mapped(admin), "admin", "issuer:idp:1"},
		"nobody knows who set it, the entry yields nothing":         {"", mapped(nil, "role"), nil, ""},
		"nobody knows who set it, the entry does not map it":        {"", mapped(nil, "email"), "user", ""},
		"a swap of a session token, which is no sign-in, keeps all": {"issuer:idp:1", models.Mapped{}, "user", "issuer:idp:1"},
	} {
		t.Run(name, func(t *testing.T) {
			stored := models.UserAttributes{Values: map[string]any{"role": "user"}, Sources: map[string]string{"role": c.source}}
			switch c.source {
			case "none":
				stored = models.UserAttributes{}
			case "":
				stored.Sources = nil
			}
			before := maps.Clone(stored.Values)
			after, removed := stored.After(c.token)
			if after.Values["role"] != c.want || after.Sources["role"] != c.set {
				t.Errorf("it is %v, set by %q; want %v by %q", after.Values["role"], after.Sources["role"], c.want, c.set)
			}
			if gone := len(removed) == 1 && removed[0] == "role"; gone != (c.want == nil) || !gone && removed != nil {
				t.Errorf("removed: %v", removed)
			}
			if !maps.Equal(before, stored.Values) {
				t.Errorf("the stored attributes were changed: %v", stored.Values)
			}
		})
	}
}

func TestAttributesAreReadBackWithTheirSources(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		text := strings.Repeat(`{"}`, 100)
		row := w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"a": text, "role": "admin"}) }))
		w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"plan": "pro"}}}})
		want := map[string]string{"a": "issuer:idp:1", "role": "issuer:idp:1", "plan": "operator"}
		alice, err := w.User(t.Context(), acme, "alice")
		must(t, err)
		read := w.read(row.ID)
		if !reflect.DeepEqual(alice.Sources, want) || !reflect.DeepEqual(read.AttributeSources, want) || read.UserAttributes["a"] != text {
			t.Errorf("set by %v and %v, want %v", alice.Sources, read.AttributeSources, want)
		}
		w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(nil, "a", "role", "plan") }))
		if after := w.read(row.ID).UserAttributes; !reflect.DeepEqual(after, map[string]any{"plan": "pro"}) {
			t.Errorf("after a sign-in that yields nothing: %v", after)
		}
	})
}

func TestASignInThatRemovesAnAttributeRecordsIt(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"role": "admin"}) }))
		w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(nil, "role") }))
		if n := w.number(`SELECT count(*) FROM events WHERE type = 'session_created' AND details LIKE '%"attributes_removed":["role"]%'`); n != 1 {
			t.Errorf("%d events name the attribute, want 1", n)
		}
	})
}

// A sign-in that changes no attribute writes none.
func TestASignInThatChangesNoAttributeWritesNone(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		sign := func() {
			w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"role": "admin", "b": 1}, "none") }))
		}
		sign()
		before := w.number("SELECT updated_at FROM users")
		w.clock.Advance(time.Minute)
		sign()
		if after := w.number("SELECT updated_at FROM users"); after != before {
			t.Error("the user's row was written")
		}
	})
}

func TestTheFileOwnsTheAttributesThatItNames(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		file := func(attributes map[string]any) {
			spec := settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice", Attributes: attributes}}}
			_, err := w.Apply(t.Context(), []settings.TenantSpec{spec}, secrets{}, models.ApplyOptions{ServeFile: true})
			must(t, err)
		}
		sources := func() map[string]string {
			alice, err := w.User(t.Context(), acme, "alice")
			must(t, err)
			return alice.Sources
		}
		w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"role": "admin", "plan": "pro"}) }))
		file(map[string]any{"plan": "pro"}) // the same value, but now it is the file's
		if got := sources(); got["plan"] != "file" || got["role"] != "issuer:idp:1" {
			t.Errorf("set by %v", got)
		}
		w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"plan": "free"}) }))
		alice, err := w.User(t.Context(), acme, "alice")
		must(t, err)
		if alice.Attributes["plan"] != "pro" {
			t.Error("a sign-in overwrites what the file names")
		}
		w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"team": "red"}}}})
		file(map[string]any{"role": "viewer"})
		if got := sources(); got["plan"] != "operator" || got["role"] != "file" || got["team"] != "operator" {
			t.Errorf("after the file names another one: set by %v", got)
		}
	})
}

func TestAMappingThatIsAddedAgainStartsOver(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		source := func(mapping map[string]string) string {
			spec := tenant()
			spec.TrustedIssuers[0].UserAttributes = mapping
			w.clock.Advance(time.Second)
			w.apply(spec)
			return w.config().Issuers[0].AttributeSource("role")
		}
		role := map[string]string{"role": "token.role"}
		first := source(role)
		if again := source(map[string]string{"role": "token.groups", "email": "token.email"}); again != first {
			t.Errorf("with another expression it is %s, was %s", again, first)
		}
		source(map[string]string{"email": "token.email"})
		if anew := source(role); anew == first {
			t.Error("given again, it counts what was set before")
		}
	})
}

func TestSettersNameAnIssuerByItsURL(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		one, two, gone := entry("https://one.example.com", "one:"), entry("https://one.example.com", "two:", "two"), entry("https://gone.example.com", "gone:")
		one.ID, two.ID, gone.ID = "one", "two", "gone"
		only := tenant()
		only.TrustedIssuers = append(only.TrustedIssuers, one, two, gone)
		for i := range only.TrustedIssuers {
			only.TrustedIssuers[i].UserAttributes = map[string]string{"a": "token.a"}
		}
		w.apply(only)
		sources := map[string]string{"file": "file", "operator": "operator", "unknown": ""}
		for _, row := range w.config().Issuers {
			sources[row.EntryID] = row.AttributeSource("a")
		}
		only.TrustedIssuers = only.TrustedIssuers[:3]
		_, err := w.Apply(t.Context(), []settings.TenantSpec{only}, secrets{}, models.ApplyOptions{Prune: true})
		must(t, err)
		attributes := map[string]any{}
		for name := range sources {
			attributes[name] = true
		}
		setters, err := w.Setters(t.Context(), &models.User{TenantID: acme, Attributes: attributes, Sources: sources})
		must(t, err)
		want := map[string]string{"file": "file", "operator": "operator", "unknown": "not known", "auth-example-com": "issuer https://auth.example.com",
			"one": "issuer https://one.example.com (one)", "two": "issuer https://one.example.com (two)", "gone": "an issuer that was removed"}
		if !maps.Equal(setters, want) {
			t.Errorf("set by %v, want %v", setters, want)
		}
	})
}
