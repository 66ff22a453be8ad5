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

const oldURL, newURL = "https://auth.example.com", "https://login.example.com"

// moved is the tenant with another URL for its trusted issuer, which keeps its id.
func moved(url string) settings.TenantSpec {
	spec := tenant()
	spec.TrustedIssuers[0].ID, spec.TrustedIssuers[0].Issuer = "auth-example-com", url
	return spec
}

// suspendedNames lists the suspensions of existing rows.
func (w *fixture) suspendedNames() (names []string) {
	w.Helper()
	list, err := w.Suspensions(w.Context(), secrets{}, "")
	must(w, err)
	for _, s := range list {
		if s.Exists {
			names = append(names, s.Kind+" "+s.ID)
		}
	}
	return names
}

func TestAnIssuerWithANewURLStaysSuspendedUntilItIsResumedByAnyName(t *testing.T) {
	for _, name := range []string{oldURL, newURL, "auth-example-com"} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				w.suspend(models.KindIssuer, oldURL)
				dry, err := w.Apply(t.Context(), []settings.TenantSpec{moved(newURL)}, secrets{}, models.ApplyOptions{DryRun: true})
				must(t, err)
				among, err := w.SuspendedAmong(t.Context(), secrets{}, []settings.TenantSpec{moved(newURL)})
				must(t, err)
				if len(dry) != 1 || len(among) != 1 || among[0].ID != oldURL {
					t.Errorf("before the change, the suspensions of the file are %+v", among)
				}
				w.apply(moved(newURL))
				w.apply(moved(newURL))
				if w.config().Issuers[0].Enabled() {
					t.Fatal("a new URL lifts the suspension")
				}
				if names := w.suspendedNames(); !slices.Equal(names, []string{"issuer auth-example-com"}) {
					t.Errorf("listed: %q", names)
				}
				among, err = w.SuspendedAmong(t.Context(), secrets{}, []settings.TenantSpec{moved(newURL)})
				must(t, err)
				if len(among) != 1 || among[0].ID != "auth-example-com" || among[0].Reason != "leaked" || among[0].FollowsURL != oldURL {
					t.Errorf("the file's suspensions are %+v", among)
				}
				w.clock.Advance(time.Minute)
				w.resume(models.KindIssuer, name)
				if !w.config().Issuers[0].Enabled() || len(w.suspendedNames()) != 0 {
					t.Errorf("resumed by %s, it is off, with %q listed", name, w.suspendedNames())
				}
				w.apply(moved(newURL))
				if !w.config().Issuers[0].Enabled() {
					t.Error("the next apply suspends it again")
				}
			})
		})
	}
}

// The URL was suspended for every entry that has it; an entry that changes its URL
// does not alter that.
func TestAURLStaysSuspendedWhenAnEntryThatHadItIsResumed(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.suspend(models.KindIssuer, oldURL)
		w.apply(moved(newURL))
		lifted, err := w.Resume(t.Context(), secrets{}, ref(models.KindIssuer, newURL), operator)
		must(t, err)
		if lifted.Followed == nil || lifted.Followed.Name != oldURL {
			t.Errorf("it is not said that the URL stays suspended: %+v", lifted)
		}
		w.apply(moved(oldURL))
		if w.config().Issuers[0].Enabled() {
			t.Error("an entry with the suspended URL is enabled")
		}
		list, err := w.Suspensions(t.Context(), secrets{}, acme)
		must(t, err)
		if len(list) != 1 || list[0].ID != oldURL || !list[0].Exists {
			t.Errorf("listed: %+v", list)
		}
		w.resume(models.KindIssuer, oldURL)
		if !w.config().Issuers[0].Enabled() {
			t.Error("the entry stays off")
		}
	})
}

func TestAnEntryThatMovedAndIsCreatedAgainIsSuspended(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.suspend(models.KindIssuer, oldURL)
		w.apply(moved(newURL))
		without := tenant()
		without.TrustedIssuers = nil
		_, err := w.Apply(t.Context(), []settings.TenantSpec{without}, secrets{}, models.ApplyOptions{Prune: true})
		must(t, err)
		list, err := w.Suspensions(t.Context(), secrets{}, acme)
		must(t, err)
		if len(list) != 2 || list[0].Exists || list[1].Exists || list[0].ID == "" || list[1].ID == "" {
			t.Errorf("without the entry, listed: %+v", list)
		}
		w.apply(moved(newURL))
		if w.config().Issuers[0].Enabled() {
			t.Error("removed and made again, it is enabled")
		}
		w.resume(models.KindIssuer, oldURL)
		if !w.config().Issuers[0].Enabled() || len(w.suspendedNames()) != 0 {
			t.Errorf("resumed, it is off, with %q listed", w.suspendedNames())
		}
	})
}

func TestResumingAnEntryDoesNotResumeOthers(t *testing.T) {
	two := func(first, second string) settings.TenantSpec {
		a, b := entry(first, "a:", "x"), entry(second, "b:", "y")
		a.ID, b.ID = "one", "two"
		return settings.TenantSpec{ID: acme, TrustedIssuers: []settings.IssuerSpec{a, b}}
	}
	each(t, func(t *testing.T, w *fixture) {
		_, err := w.Apply(t.Context(), []settings.TenantSpec{two(newURL, newURL)}, secrets{}, models.ApplyOptions{Prune: true})
		must(t, err)
		refused := func(id string, words ...string) {
			t.Helper()
			_, err := w.Resume(t.Context(), secrets{}, ref(models.KindIssuer, id), operator)
			if !errors.Is(err, models.ErrOtherName) {
				t.Fatalf("resuming %s returned %v", id, err)
			}
			for _, word := range words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("resuming %s: %v; want %q in it", id, err, word)
				}
			}
		}
		w.suspend(models.KindIssuer, newURL)
		refused("one", newURL, "also suspends two")
		w.apply(two("https://other.example.com", newURL))
		refused("two", newURL, "also suspends one") // it moved away, and follows
		w.resume(models.KindIssuer, newURL)
		w.apply(two(newURL, newURL))
		w.suspend(models.KindIssuer, "one")
		w.suspend(models.KindIssuer, "two")
		refused(newURL, "one", "two") // each was meant alone
		w.resume(models.KindIssuer, "one")
		w.resume(models.KindIssuer, newURL) // the one that is left
		if names := w.suspendedNames(); len(names) != 0 {
			t.Errorf("listed: %q", names)
		}
	})
}

func TestASeparateSuspensionFollowsNoURL(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		_, err := w.Suspend(t.Context(), secrets{}, ref(models.KindIssuer, oldURL), models.Actor{Name: "helpdesk", Role: models.RoleSupport}, "odd")
		must(t, err)
		w.apply(moved(newURL))
		support := models.Actor{Name: "helpdesk", Role: models.RoleSupport}
		w.suspend(models.KindIssuer, oldURL) // by a higher role
		if _, err := w.Resume(t.Context(), secrets{}, ref(models.KindIssuer, newURL), support); !errors.Is(err, models.ErrMayNotResume) {
			t.Errorf("resuming what follows returned %v", err)
		}
		w.suspend(models.KindIssuer, "auth-example-com")
		w.resume(models.KindIssuer, oldURL)
		if w.config().Issuers[0].Enabled() {
			t.Error("lifting the URL's suspension lifts that of the id")
		}
		w.resume(models.KindIssuer, newURL)
		if !w.config().Issuers[0].Enabled() {
			t.Error("it stays off")
		}
	})
}

// Every suspended row is listed and can be resumed, with or without a record.
func TestARowSuspendedWithoutARecordIsListedAndResumed(t *testing.T) {
	for _, kind := range models.Kinds {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				id := w.suspendableIDs()[kind]
				w.create(w.alice())
				w.suspend(kind, id)
				w.exec("DELETE FROM suspensions")
				if names := w.suspendedNames(); !slices.Equal(names, []string{kind + " " + id}) {
					t.Errorf("listed: %q", names)
				}
				named := tenant()
				named.Users = []settings.UserSpec{{Sub: "alice"}}
				if among, err := w.SuspendedAmong(t.Context(), secrets{}, []settings.TenantSpec{named}); len(among) != 1 || err != nil {
					t.Errorf("the file's suspensions are %+v, %v", among, err)
				}
				if _, err := w.Resume(t.Context(), secrets{}, ref(kind, id), models.Actor{Name: "a", Role: models.RoleAdmin}); !errors.Is(err, models.ErrMayNotResume) {
					t.Errorf("a role that may not lift every suspension: %v", err)
				}
				w.clock.Advance(time.Minute)
				w.resume(kind, id)
				w.create(w.withDigest())
				if names := w.suspendedNames(); len(names) != 0 {
					t.Errorf("listed: %q", names)
				}
			})
		})
	}
}

func TestNothingOfARemovedTenantIsListed(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice())
		for kind, id := range w.suspendableIDs() {
			w.suspend(kind, id)
		}
		_, err := w.Apply(t.Context(), []settings.TenantSpec{{ID: "other"}}, secrets{}, models.ApplyOptions{Prune: true})
		must(t, err)
		list, err := w.Suspensions(t.Context(), secrets{}, "")
		must(t, err)
		if len(list) != 0 { // nobody could resume it
			t.Errorf("listed: %+v", list)
		}
	})
}

func TestARecordNamesNoUser(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice())
		w.suspend(models.KindClient, "gone")
		w.clock.Advance(time.Second)
		w.suspend(models.KindUser, "alice")
		if n := w.number("SELECT count(*) FROM suspensions WHERE noun = 'user' AND (name LIKE '%alice%' OR reason LIKE '%alice%' OR suspended_by LIKE '%alice%')"); n != 0 {
			t.Error("the record names a user in clear")
		}
		list, err := w.Suspensions(t.Context(), secrets{}, "")
		must(t, err)
		if len(list) != 2 || list[0].ID != "gone" || list[0].Exists || list[1].ID != "alice" {
			t.Errorf("listed: %+v", list)
		}
	})
}
