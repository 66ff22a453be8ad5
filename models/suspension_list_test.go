package models_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// pagesOfSuspensions returns what the pages of a list contain, one line for each item.
func (w *fixture) pagesOfSuspensions(tenants []string, limit int) (lines []string) {
	w.Helper()
	f := models.SuspensionFilter{Tenants: tenants, Limit: limit}
	var last time.Time
	for range 100 {
		list, next, err := w.ListSuspensions(w.Context(), secrets{}, f)
		must(w, err)
		if len(list) > limit {
			w.Errorf("a page of %d, the limit is %d", len(list), limit)
		}
		for _, s := range list {
			if s.SuspendedAt.Before(last) {
				w.Errorf("%s is listed after a later one", s.ID)
			}
			last = s.SuspendedAt.Time
			lines = append(lines, fmt.Sprintf("%s %s %q exists=%v entries=%v recorded=%v", s.TenantID, s.Kind, s.ID, s.Exists, s.Entries, s.IDDigest != nil))
		}
		if next.Digest == nil {
			return lines
		}
		if f.After, err = models.ParseSuspensionCursor(next.String()); err != nil {
			w.Fatal(err)
		}
	}
	w.Fatal("the list has no end")
	return nil
}

func TestPagesContainEverySuspensionOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.apply(tenant(), settings.TenantSpec{ID: "other"}, settings.TenantSpec{ID: "removed"})
		var want []string
		suspend := func(tenant, kind, id, line string) {
			t.Helper()
			_, err := w.Suspend(t.Context(), secrets{}, models.Ref{Kind: kind, Tenant: tenant, ID: id}, operator, "")
			must(t, err)
			if line != "" {
				want = append(want, tenant+" "+kind+" "+line)
			}
		}
		for i := range 6 { // several are suspended at the same moment
			sub := fmt.Sprint("user-", i)
			w.create(w.alice(func(n *models.NewSession) { n.Subject = sub }))
			suspend(acme, models.KindUser, sub, fmt.Sprintf("%q exists=true entries=[] recorded=true", sub))
			suspend("other", models.KindUser, sub, `"" exists=false entries=[] recorded=true`)
			suspend("removed", models.KindUser, sub, "")
			if i%2 == 0 {
				w.clock.Advance(time.Second)
			}
		}
		suspend(acme, models.KindClient, "web", `"web" exists=true entries=[] recorded=true`)
		suspend(acme, models.KindClient, "none", `"none" exists=false entries=[] recorded=true`)
		w.clock.Advance(time.Second)
		// Two records suspend one trusted issuer, whose row has the time of the first.
		suspend(acme, models.KindIssuer, "auth-example-com", `"auth-example-com" exists=true entries=[auth-example-com] recorded=true`)
		w.clock.Advance(time.Second)
		suspend(acme, models.KindIssuer, oldURL, `"https://auth.example.com" exists=true entries=[auth-example-com] recorded=true`)
		suspend("other", models.KindTenant, "other", `"other" exists=true entries=[] recorded=true`)
		_, err := w.Apply(t.Context(), []settings.TenantSpec{tenant(), {ID: "other"}}, secrets{}, models.ApplyOptions{Prune: true})
		must(t, err)

		for name, c := range map[string]struct {
			tenants []string
			of      string
		}{
			"all tenants": {nil, ""}, "one tenant": {[]string{acme}, acme}, "another tenant": {[]string{"other"}, "other"},
			"several tenants": {[]string{"other", acme, "absent"}, ""}, "a tenant that does not exist": {[]string{"absent"}, "absent"}, "no tenant": {[]string{}, "absent"},
		} {
			var wanted []string
			for _, line := range want {
				if strings.HasPrefix(line, c.of) {
					wanted = append(wanted, line)
				}
			}
			slices.Sort(wanted)
			for _, limit := range []int{1, 2, 5, 1000} {
				got := w.pagesOfSuspensions(c.tenants, limit)
				slices.Sort(got)
				if !slices.Equal(got, wanted) {
					t.Errorf("%s, %d on a page:\n%s\nwant\n%s", name, limit, strings.Join(got, "\n"), strings.Join(wanted, "\n"))
				}
			}
		}
	})
}

// An earlier release has left rows without a record. A later suspension of the same user
// has one, with its own time.
func TestPagesContainRowsWithoutARecord(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for i := range 5 {
			sub := fmt.Sprint("user-", i)
			w.create(w.alice(func(n *models.NewSession) { n.Subject = sub }))
			w.suspend(models.KindUser, sub)
			if i > 0 {
				w.clock.Advance(time.Second)
			}
		}
		w.suspend(models.KindIssuer, "auth-example-com")
		w.exec("DELETE FROM suspensions")
		w.clock.Advance(time.Second)
		w.suspend(models.KindUser, "nobody")
		w.suspend(models.KindUser, "user-1")
		want := []string{`default issuer "auth-example-com" exists=true entries=[] recorded=false`, `default user "" exists=false entries=[] recorded=true`}
		for i := range 5 {
			want = append(want, fmt.Sprintf(`default user "user-%d" exists=true entries=[] recorded=%v`, i, i == 1))
		}
		slices.Sort(want)
		for _, limit := range []int{1, 2, 1000} {
			got := w.pagesOfSuspensions(nil, limit)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%d on a page:\n%s\nwant\n%s", limit, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}

func TestSuspensionCursorsHaveOneSpelling(t *testing.T) {
	c := models.SuspensionCursor{At: models.At(start), Digest: make([]byte, 32)}
	back, err := models.ParseSuspensionCursor(c.String())
	if err != nil || !back.At.Equal(start) || string(back.Digest) != string(c.Digest) {
		t.Errorf("%v reads back as %v, %v", c, back, err)
	}
	for _, text := range []string{"", "x", c.String() + "\n", c.String() + "AA", c.String()[:20]} {
		if _, err := models.ParseSuspensionCursor(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
