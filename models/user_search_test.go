package models_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// makeSearchable sets searchable_attributes of the tenant.
func (w *fixture) makeSearchable(names ...string) {
	w.Helper()
	spec := tenant()
	spec.SearchableAttributes = names
	w.apply(spec)
}

// index runs maintenance after the pause that follows a change of the list.
func (w *fixture) index() {
	w.Helper()
	w.clock.Advance(time.Minute)
	must(w, w.IndexAttributes(w.Context()))
}

func (w *fixture) found(name, value string) []string {
	w.Helper()
	return w.listedUsers(models.UserFilter{Tenant: acme, Attribute: &models.AttributeMatch{Name: name, Value: value}, Limit: 2})
}

func (w *fixture) setAttributes(sub string, attributes map[string]any) {
	w.Helper()
	_, err := w.ChangeUser(w.Context(), acme, sub, models.UserChange{Create: true, Attributes: attributes})
	must(w, err)
}

// changedBySignIn signs a user in whose client token has the attributes.
func (w *fixture) changedBySignIn(sub string, attributes map[string]any) {
	w.Helper()
	w.signIn(sub, func(n *models.NewSession) { n.Mapped = mapped(attributes) })
}

func TestUsersAreFoundByTheirAttributes(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.setAttributes("early", map[string]any{"email": "ada@example.com"})
		w.makeSearchable("email", "level", "staff")
		find := func(when string, name, value string, want ...string) {
			t.Helper()
			if got := w.found(name, value); !slices.Equal(got, want) {
				t.Errorf("%s: %s:%s finds %q, want %q", when, name, value, got, want)
			}
		}
		w.index()
		find("stored before the list", "email", "ada@example.com", "early")

		w.changedBySignIn("mapped", map[string]any{"email": "ada@example.com", "city": "Ghent"})
		w.setAttributes("set", map[string]any{"email": "ada@example.com", "level": 3, "staff": true})
		w.setAttributes("odd", map[string]any{"email": []any{"ada@example.com"}, "level": "3", "staff": map[string]any{"a": 1}})
		find("a sign-in, an operator", "email", "ada@example.com", "early", "mapped", "set")
		find("a part", "email", "ada@example")
		find("another case", "email", "Ada@example.com")
		find("a number and a string", "level", "3", "odd", "set")
		find("a boolean", "staff", "true", "set")

		w.changedBySignIn("mapped", map[string]any{"email": "lovelace@example.com"})
		w.setAttributes("set", map[string]any{"email": nil})
		find("after changes", "email", "ada@example.com", "early")
		find("after a change", "email", "lovelace@example.com", "mapped")

		_, err := w.DeleteUser(t.Context(), acme, "mapped", models.Actor{})
		must(t, err)
		find("after the deletion", "email", "lovelace@example.com")
		if n := w.number("SELECT count(*) FROM user_attributes WHERE sub = ?", "mapped"); n > 0 {
			t.Errorf("%d rows of a deleted user remain", n)
		}
	})
}

func TestASearchIsOfOneTenant(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		other := settings.TenantSpec{ID: "other", SearchableAttributes: []string{"email"}, Users: []settings.UserSpec{{Sub: "zoe", Attributes: map[string]any{"email": "ada@example.com"}}}}
		spec := tenant()
		spec.SearchableAttributes = []string{"email"}
		w.apply(spec, other)
		w.index()
		if got := w.found("email", "ada@example.com"); got != nil {
			t.Errorf("finds %q of another tenant", got)
		}
		f := models.UserFilter{Tenant: "other", Attribute: &models.AttributeMatch{Name: "email", Value: "ada@example.com"}, Limit: 1}
		if got := w.listedUsers(f); !slices.Equal(got, []string{"zoe"}) {
			t.Errorf("the other tenant finds %q", got)
		}
		w.applyPruning(t, spec)
		w.clock.Advance(time.Hour)
		must(t, w.Sweep(t.Context()))
		if n := w.number("SELECT count(*) FROM user_attributes"); n > 0 {
			t.Errorf("%d rows of a removed tenant remain", n)
		}
	})
}

// applyPruning removes the tenants that are not named.
func (w *fixture) applyPruning(t *testing.T, tenants ...settings.TenantSpec) {
	t.Helper()
	_, err := w.Apply(t.Context(), tenants, secrets{}, models.ApplyOptions{Replace: true, Prune: true})
	must(t, err)
}

func TestANewSearchableAttributeIsIndexedBeforeItIsSearched(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		spec := tenant()
		for i := range 450 { // three transactions
			spec.Users = append(spec.Users, settings.UserSpec{Sub: fmt.Sprintf("u%03d", i), Attributes: map[string]any{"plan": "pro", "city": "Ghent"}})
		}
		w.apply(spec)
		search := func(name string) error {
			_, _, err := w.ListUsers(t.Context(), models.UserFilter{Tenant: acme, Attribute: &models.AttributeMatch{Name: name, Value: "pro"}, Limit: 1})
			return err
		}
		if err := search("plan"); !errors.Is(err, models.ErrNotSearchable) {
			t.Errorf("without a list: %v", err)
		}
		w.makeSearchable("plan")
		must(t, w.IndexAttributes(t.Context())) // an exchange may not have seen the list yet
		if err := search("plan"); !errors.Is(err, models.ErrIndexing) {
			t.Errorf("at once: %v", err)
		}
		w.index()
		count := func(name, value string) (n int) {
			t.Helper()
			list, more, err := w.ListUsers(t.Context(), models.UserFilter{Tenant: acme, Attribute: &models.AttributeMatch{Name: name, Value: value}, Limit: 1000})
			if more || err != nil {
				t.Error(more, err)
			}
			return len(list)
		}
		if n := count("plan", "pro"); n != 450 {
			t.Errorf("%d users found, want 450", n)
		}
		w.makeSearchable("city", "plan")
		if n := count("plan", "pro"); n != 450 {
			t.Errorf("%d users found while another name is indexed", n)
		}
		if err := search("city"); !errors.Is(err, models.ErrIndexing) {
			t.Errorf("the other name: %v", err)
		}
		w.index()
		if n := count("city", "Ghent"); n != 450 {
			t.Errorf("%d users found by the other name", n)
		}
		w.makeSearchable()
		if err := search("plan"); !errors.Is(err, models.ErrNotSearchable) {
			t.Errorf("after the list was removed: %v", err)
		}
		w.index()
		if n := w.number("SELECT count(*) FROM user_attributes"); n > 0 {
			t.Errorf("%d rows remain", n)
		}
	})
}

// A sign-in that read the list before it changed may commit after the change. SQLite has
// a single writer, so this can happen on PostgreSQL only.
func TestASignInDuringAChangeOfTheListIsIndexed(t *testing.T) {
	w := newPostgresFixture(t)
	n := w.alice(func(n *models.NewSession) {
		n.Subject, n.Mapped = "bob", mapped(map[string]any{"email": "bob@example.com"})
	})
	_, err := w.CreateSession(t.Context(), n, func(*models.Session) error {
		w.makeSearchable("email")
		must(t, w.IndexAttributes(t.Context()))
		return nil
	})
	must(t, err)
	w.index()
	if got := w.found("email", "bob@example.com"); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("finds %q", got)
	}
}

func TestTheValuesOfSearchableAttributesAreNotInEvents(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.makeSearchable("email")
		w.index()
		w.setAttributes("ada", map[string]any{"email": "ada@example.com"})
		w.changedBySignIn("bob", map[string]any{"email": "bob@example.com"})
		if n := w.number("SELECT count(*) FROM events WHERE details LIKE '%@example.com%'"); n > 0 {
			t.Errorf("%d events have a value", n)
		}
	})
}
