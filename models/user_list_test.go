package models_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// listedUsers returns the subs of a list that is read page by page.
func (w *fixture) listedUsers(f models.UserFilter) (subs []string) {
	w.Helper()
	for {
		page, more, err := w.ListUsers(w.Context(), f)
		must(w, err)
		if len(page) > f.Limit || more && len(page) < f.Limit {
			w.Fatalf("a page of %d users, with more behind it: %v; the limit is %d", len(page), more, f.Limit)
		}
		for _, u := range page {
			subs = append(subs, u.Sub)
		}
		if !more {
			return subs
		}
		if len(subs) > 100 {
			w.Fatalf("the list does not end: %q", subs)
		}
		f.After = subs[len(subs)-1]
	}
}

func TestUsersAreListedByIssuerAndPrefixPageByPage(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		shared := func(s settings.IssuerSpec, id string) settings.IssuerSpec { s.ID, s.ShareSubjects = id, true; return s }
		spec := settings.TenantSpec{ID: acme, TrustedIssuers: []settings.IssuerSpec{
			entry("https://google.example.com", "g%:"), shared(entry("https://one.example.com", "s:"), "one"), shared(entry("https://two.example.com", "s:"), "two")}}
		all := []string{"Alice", "alice", "bob", "g%:1", "g%:12", "gx:1", "s:1"}
		for _, sub := range all {
			spec.Users = append(spec.Users, settings.UserSpec{Sub: sub})
		}
		w.apply(spec, settings.TenantSpec{ID: "other", Users: []settings.UserSpec{{Sub: "zoe"}}})
		for name, c := range map[string]struct {
			f    models.UserFilter
			want []string
		}{
			"all":                             {models.UserFilter{Tenant: acme}, all},
			"another tenant":                  {models.UserFilter{Tenant: "other"}, []string{"zoe"}},
			"a prefix":                        {models.UserFilter{Tenant: acme, Prefix: "a"}, []string{"alice"}},
			"a prefix that LIKE would expand": {models.UserFilter{Tenant: acme, Prefix: "g%"}, []string{"g%:1", "g%:12"}},
			"a prefix that nobody has":        {models.UserFilter{Tenant: acme, Prefix: "é"}, nil},
			"an issuer with a prefix":         {models.UserFilter{Tenant: acme, Issuer: "google-example-com"}, []string{"g%:1", "g%:12"}},
			"by its URL, with a prefix":       {models.UserFilter{Tenant: acme, Issuer: "https://google.example.com", Prefix: "g%:12"}, []string{"g%:12"}},
			"an issuer without one":           {models.UserFilter{Tenant: acme, Issuer: "https://auth.example.com"}, []string{"Alice", "alice", "bob", "gx:1"}},
			"issuers that share a namespace":  {models.UserFilter{Tenant: acme, Issuer: "two"}, []string{"s:1"}},
		} {
			for _, limit := range []int{1, 2, 100} {
				c.f.Limit = limit
				got := w.listedUsers(c.f)
				slices.Sort(got) // the order is the database's
				if !slices.Equal(got, c.want) {
					t.Errorf("%s, %d a page: %q, want %q", name, limit, got, c.want)
				}
			}
		}
		list, _, err := w.ListUsers(t.Context(), models.UserFilter{Tenant: acme, Limit: 100})
		must(t, err)
		for _, u := range list {
			want := map[string]string{"g%:1": "https://google.example.com 1", "s:1": "https://one.example.com,https://two.example.com 1", "bob": "https://auth.example.com bob"}[u.Sub]
			if got := strings.Join(u.Issuers, ",") + " " + u.Subject; want != "" && got != want {
				t.Errorf("%s is %q, want %q", u.Sub, got, want)
			}
		}
		_, _, err = w.ListUsers(t.Context(), models.UserFilter{Tenant: acme, Issuer: "https://none.example.com", Limit: 1})
		var unknown *models.UnknownIssuerError
		if !errors.As(err, &unknown) {
			t.Errorf("an issuer that is not there: %v", err)
		}
		if _, _, err := w.ListUsers(t.Context(), models.UserFilter{Tenant: "none", Limit: 1}); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("a tenant that is not there: %v", err)
		}
	})
}

func TestAListOfUsersCountsTheirLiveSessions(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for i, sub := range []string{"alice", "alice", "alice", "bob"} {
			w.clock.Advance(time.Minute)
			w.create(w.alice(func(n *models.NewSession) { n.Subject = sub }))
			if i == 0 {
				_, err := w.EndSessions(t.Context(), acme, sub, models.SessionID{}, w.Now(), "signed_out")
				must(t, err)
			}
		}
		w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "carol"}}})
		show := func() string {
			list, more, err := w.ListUsers(t.Context(), models.UserFilter{Tenant: acme, Limit: 10})
			must(t, err)
			text := ""
			for _, u := range list {
				text += fmt.Sprintf("%s: %d, made %s, seen %s, suspended %v\n", u.Sub, u.Sessions, u.CreatedAt.Sub(start), u.SeenAt.Sub(start), u.Suspended)
			}
			if more {
				text += "more"
			}
			return text
		}
		want := "alice: 2, made 1m0s, seen 3m0s, suspended false\nbob: 1, made 4m0s, seen 4m0s, suspended false\ncarol: 0, made 4m0s, seen 4m0s, suspended false\n"
		if got := show(); got != want {
			t.Errorf("listed\n%swant\n%s", got, want)
		}
		w.suspend(models.KindUser, "alice")
		w.suspend(models.KindIssuer, "auth-example-com")
		want = "alice: 0, made 1m0s, seen 3m0s, suspended true\nbob: 0, made 4m0s, seen 4m0s, suspended false\ncarol: 0, made 4m0s, seen 4m0s, suspended false\n"
		if got := show(); got != want {
			t.Errorf("suspended, listed\n%swant\n%s", got, want)
		}
	})
}

func TestAListOfUsersExaminesAFewSessionsOfEach(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for sub, n := range map[string]int{"many": 15, "ten": 10, "few": 2} {
			for range n {
				w.create(w.alice(func(n *models.NewSession) { n.Subject = sub }))
			}
		}
		list, _, err := w.ListUsers(t.Context(), models.UserFilter{Tenant: acme, Limit: 10})
		must(t, err)
		got := ""
		for _, u := range list {
			got += fmt.Sprintf("%s: %d, more: %t; ", u.Sub, u.Sessions, u.More)
		}
		if want := "few: 2, more: false; many: 10, more: true; ten: 10, more: false; "; got != want {
			t.Errorf("listed %s, want %s", got, want)
		}
	})
}
