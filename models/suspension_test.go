package models_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

var operator = models.Actor{Name: "cli root@host", Role: models.RoleMachine}

func ref(kind, id string) models.Ref {
	if kind == models.KindTenant {
		return models.Ref{Kind: kind, Tenant: id, ID: id}
	}
	return models.Ref{Kind: kind, Tenant: acme, ID: id}
}

func (w *fixture) suspend(kind, id string) *models.Suspended {
	w.Helper()
	done, err := w.Suspend(w.Context(), secrets{}, ref(kind, id), operator, "leaked")
	must(w, err)
	return done
}

func (w *fixture) resume(kind, id string) {
	w.Helper()
	_, err := w.Resume(w.Context(), secrets{}, ref(kind, id), operator)
	must(w, err)
}

// suspendableIDs returns what alice's session depends on: an id of each kind.
func (w *fixture) suspendableIDs() map[string]string {
	return map[string]string{models.KindTenant: acme, models.KindClient: "web", models.KindIssuer: "auth-example-com", models.KindUser: "alice"}
}

// withDigest is a sign-in of alice by a node, which knows the key of suspensions.
func (w *fixture) withDigest(change ...func(*models.NewSession)) models.NewSession {
	w.Helper()
	key, err := w.SuspensionKey(w.Context(), secrets{})
	must(w, err)
	n := w.alice(change...)
	n.UserDigest = key.UserDigest(n.TenantID, n.Subject)
	return n
}

// isRefused reports whether a refresh of the session is rejected.
func (w *fixture) isRefused(row *models.Session) bool {
	w.Helper()
	config := w.config()
	step := w.step(row, row.Refresh.Generation)
	for _, mark := range []models.Time{config.SessionsValidFrom, config.Clients[len(config.Clients)-1].SessionsValidFrom} {
		if mark.After(step.ValidFrom) {
			step.ValidFrom = mark.Time
		}
	}
	_, rotates := w.RotateSession(w.Context(), step)
	return errors.Is(rotates, models.ErrNotFound)
}

func TestSuspendingEndsSessionsUntilResumed(t *testing.T) {
	for _, kind := range models.Kinds {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				id := w.suspendableIDs()[kind]
				row := w.create(w.alice())
				w.clock.Advance(time.Minute)
				if n, err := w.LiveSessions(t.Context(), ref(kind, id)); n != 1 || err != nil {
					t.Errorf("%d sessions would end, %v; want 1", n, err)
				}
				revision := w.revision(acme)
				if done := w.suspend(kind, id); done.Already || !done.Exists {
					t.Errorf("suspended: %+v", done)
				}
				if kind != models.KindUser && w.revision(acme) == revision {
					t.Error("the revision of the tenant has not changed, so that no node reads it again")
				}
				if n := w.number("SELECT count(*) FROM events WHERE type = ? AND until IS NOT NULL", kind+"_suspended"); n != 1 {
					t.Errorf("the feed has %d events of it, want 1", n)
				}
				if !w.isRefused(row) {
					t.Error("a refresh succeeds")
				}
				if n, err := w.LiveSessions(t.Context(), ref(kind, id)); n != 0 || err != nil {
					t.Errorf("%d live sessions, %v; want none", n, err)
				}
				_, err := w.CreateSession(t.Context(), w.withDigest(), signs)
				if !errors.Is(err, models.ErrNotPermitted) && !errors.Is(err, models.ErrUserDisabled) {
					t.Errorf("an exchange returned %v", err)
				}
				w.apply(tenant()) // an older file, or the same
				_, err = w.Apply(t.Context(), []settings.TenantSpec{tenant()}, secrets{}, models.ApplyOptions{Prune: true})
				must(t, err)
				if _, err := w.CreateSession(t.Context(), w.withDigest(), signs); err == nil {
					t.Error("applying a file lifts the suspension")
				}
				must(t, w.Sweep(t.Context()))
				if w.read(row.ID).EndedAt.IsZero() {
					t.Error("the session's row is not swept")
				}

				w.clock.Advance(time.Minute)
				w.resume(kind, id)
				if !w.isRefused(row) {
					t.Error("resuming makes the ended session live again")
				}
				w.clock.Advance(time.Second)
				if w.isRefused(w.create(w.withDigest())) {
					t.Error("a session that was created after resuming is refused")
				}
				if n := w.number("SELECT count(*) FROM events WHERE type = ?", kind+"_resumed"); n != 1 {
					t.Errorf("%d events of resuming, want 1", n)
				}
			})
		})
	}
}

func TestAnObjectCreatedWithASuspendedIDIsSuspended(t *testing.T) {
	fresh := "https://fresh.example.com"
	spec := settings.TenantSpec{ID: acme, Clients: []settings.ClientSpec{{ID: "fresh", ClientSettings: tenant().Clients[0].ClientSettings}},
		TrustedIssuers: []settings.IssuerSpec{entry(fresh, "fresh:")}, Users: []settings.UserSpec{{Sub: "carol"}}}
	for kind, c := range map[string]struct {
		id    string
		made  settings.TenantSpec
		count string
	}{
		models.KindTenant: {"fresh", settings.TenantSpec{ID: "fresh"}, "SELECT count(*) FROM tenants WHERE id = 'fresh' AND suspended_at IS NOT NULL"},
		models.KindClient: {"fresh", spec, "SELECT count(*) FROM clients WHERE id = 'fresh' AND suspended_at IS NOT NULL"},
		models.KindIssuer: {fresh, spec, "SELECT count(*) FROM trusted_issuers WHERE suspended_at IS NOT NULL"},
		models.KindUser:   {"carol", spec, "SELECT count(*) FROM users WHERE sub = 'carol' AND suspended_at IS NOT NULL"},
	} {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				before := w.rows()
				if done := w.suspend(kind, c.id); done.Exists {
					t.Errorf("suspended: %+v", done)
				}
				w.wantRows(before) // no row is created for an unused id
				if done := w.suspend(kind, c.id); !done.Already {
					t.Error("the second suspension does not report that it was suspended already")
				}
				w.apply(c.made)
				if n := w.number(c.count); n != 1 {
					t.Errorf("%d rows are suspended, want 1", n)
				}
				list, err := w.SuspendedAmong(t.Context(), secrets{}, []settings.TenantSpec{c.made})
				must(t, err)
				if len(list) != 1 || list[0].ID != c.id || list[0].Reason != "leaked" {
					t.Errorf("the suspensions of the file are %+v", list)
				}
				w.resume(kind, c.id)
				if n := w.number(c.count); n != 0 {
					t.Error("it stays suspended after resuming")
				}
				if _, err := w.Resume(t.Context(), secrets{}, ref(kind, c.id), operator); !errors.Is(err, models.ErrNotSuspended) {
					t.Errorf("resuming twice returned %v", err)
				}
			})
		})
	}
	t.Run("a user's first sign-in", func(t *testing.T) {
		each(t, func(t *testing.T, w *fixture) {
			w.suspend(models.KindUser, "alice")
			before := w.rows()
			if _, err := w.CreateSession(t.Context(), w.withDigest(), signs); !errors.Is(err, models.ErrUserDisabled) {
				t.Errorf("returned %v", err)
			}
			if _, err := w.CreateSession(t.Context(), w.withDigest(func(n *models.NewSession) { n.OnStatusList = true }), signs); !errors.Is(err, models.ErrUserDisabled) {
				t.Errorf("with a status list entry, answered with %v", err)
			}
			w.wantRows(before)
			w.create(w.withDigest(func(n *models.NewSession) { n.Subject = "bob" }))
		})
	})
}

func TestASuspensionOutlivesItsRow(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		spec := tenant()
		w.suspend(models.KindClient, "web")
		w.suspend(models.KindIssuer, "https://auth.example.com")
		w.clock.Advance(time.Second)
		without := spec
		without.Clients, without.TrustedIssuers = spec.Clients[1:], nil
		_, err := w.Apply(t.Context(), []settings.TenantSpec{without}, secrets{}, models.ApplyOptions{Prune: true})
		must(t, err)
		w.clock.Advance(time.Hour)
		must(t, w.Sweep(t.Context()))
		if n := w.number("SELECT count(*) FROM clients WHERE id = 'web'"); n != 0 {
			t.Fatal("the client's row is still there")
		}
		w.apply(spec)
		config := w.config()
		if config.Clients[1].Enabled() || config.Issuers[0].Enabled() {
			t.Error("the client and the issuer, removed and created again, are not suspended")
		}
	})
}

func TestASuspendedAndDisabledUserNeedsBothLifted(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice())
		w.suspend(models.KindUser, "alice")
		w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice", Disabled: true}}})
		w.resume(models.KindUser, "alice")
		if _, err := w.CreateSession(t.Context(), w.withDigest(), signs); !errors.Is(err, models.ErrUserDisabled) {
			t.Errorf("disabled and resumed, an exchange returned %v", err)
		}
		w.suspend(models.KindUser, "alice")
		w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice"}}})
		if _, err := w.CreateSession(t.Context(), w.withDigest(), signs); !errors.Is(err, models.ErrUserDisabled) {
			t.Errorf("suspended and enabled, an exchange returned %v", err)
		}
		w.resume(models.KindUser, "alice")
		w.clock.Advance(time.Second) // a client token of the second in which the user was suspended is refused
		w.create(w.withDigest())
	})
}

func TestAnIssuersURLRefersToEveryEntry(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		url := "https://auth.example.com"
		w.suspend(models.KindIssuer, "auth-example-com")
		w.suspend(models.KindIssuer, url)
		w.apply(settings.TenantSpec{ID: acme, TrustedIssuers: []settings.IssuerSpec{entry(url, "")}})
		w.resume(models.KindIssuer, url)
		if w.config().Issuers[0].Enabled() {
			t.Error("resuming the URL resumes an entry that was suspended by its id")
		}
		w.resume(models.KindIssuer, "auth-example-com")
		if !w.config().Issuers[0].Enabled() {
			t.Error("the entry stays suspended")
		}
	})
}

func TestResumingNeedsTheSuspendersRole(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice())
		roles := []models.Role{models.RoleSupport, models.RoleAdmin, models.RoleOwner, models.RoleMachine, "later"}
		for i, by := range roles {
			for j, lifts := range roles {
				t.Run(fmt.Sprintf("%s after %s", lifts, by), func(t *testing.T) {
					_, err := w.Suspend(t.Context(), secrets{}, ref(models.KindUser, "alice"), models.Actor{Name: "a", Role: by}, "")
					must(t, err)
					_, err = w.Resume(t.Context(), secrets{}, ref(models.KindUser, "alice"), models.Actor{Name: "b", Role: lifts})
					if may := j >= min(i, 2); may != (err == nil) || !may && !errors.Is(err, models.ErrMayNotResume) {
						t.Errorf("returned %v", err)
					}
					if err != nil {
						w.resume(models.KindUser, "alice")
					}
				})
			}
		}
		_, err := w.Suspend(t.Context(), secrets{}, ref(models.KindUser, "alice"), models.Actor{Name: "helpdesk", Role: models.RoleSupport}, "odd sign-ins")
		must(t, err)
		if done := w.suspend(models.KindUser, "alice"); !done.Already || done.Role != models.RoleMachine || done.Reason != "leaked" {
			t.Errorf("suspended again by a higher role: %+v", done.Suspension)
		}
	})
}

// If a first sign-in and a suspension of the same user run at the same time, the
// suspension wins, whichever is first.
func TestSuspendingWinsAgainstAFirstSignIn(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		node := w.another(models.Options{})
		for i := range 16 {
			sub := fmt.Sprint("user-", i)
			n := w.withDigest(func(n *models.NewSession) { n.Subject = sub })
			var both sync.WaitGroup
			both.Go(func() {
				if _, err := w.CreateSession(t.Context(), n, signs); err != nil && !errors.Is(err, models.ErrUserDisabled) {
					t.Error(err)
				}
			})
			both.Go(func() {
				if _, err := node.Suspend(t.Context(), secrets{}, ref(models.KindUser, sub), operator, ""); err != nil {
					t.Error(err)
				}
			})
			both.Wait()
		}
		if n := w.number("SELECT count(*) FROM sessions WHERE ended_at IS NULL"); n != 0 {
			t.Errorf("%d live sessions of suspended users", n)
		}
		if n := w.number("SELECT count(*) FROM users WHERE suspended_at IS NULL"); n != 0 {
			t.Errorf("%d users who signed in are not suspended", n)
		}
	})
}

// The sign-in has created the user's row and not committed when the suspension
// begins.
func TestSuspendingWaitsForAFirstSignIn(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		node := w.another(models.Options{})
		_, err := node.SuspensionKey(t.Context(), secrets{})
		must(t, err)
		suspended := make(chan error, 1)
		var id models.SessionID
		_, err = w.CreateSession(t.Context(), w.withDigest(), func(created *models.Session) error {
			id = created.ID
			go func() {
				_, err := node.Suspend(t.Context(), secrets{}, ref(models.KindUser, "alice"), operator, "")
				suspended <- err
			}()
			w.waitForALock()
			return nil
		})
		must(t, err)
		must(t, <-suspended)
		if row := w.read(id); row.EndReason != session.UserDisabled {
			t.Errorf("the session ended with %q", row.EndReason)
		}
	})
}

func TestSuspendingInARemovedTenantIsRejected(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.exec("UPDATE tenants SET pruned_at = 1")
		if _, err := w.Suspend(t.Context(), secrets{}, ref(models.KindClient, "web"), operator, ""); !errors.Is(err, models.ErrTenantRemoved) {
			t.Errorf("returned %v", err)
		}
	})
}

func TestSuspensionsAreListedWithTheirReasons(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice())
		for kind, id := range w.suspendableIDs() {
			w.suspend(kind, id)
		}
		w.suspend(models.KindUser, "nobody")
		list, err := w.Suspensions(t.Context(), secrets{}, acme)
		must(t, err)
		ids := map[string]bool{}
		for _, s := range list {
			ids[s.Kind+" "+s.ID] = true
			if want := "suspended since 2026-03-01T12:00:00Z by cli root@host: leaked"; s.String() != want || strings.Contains(string(s.IDDigest), "alice") {
				t.Errorf("%s, want %s", s, want)
			}
		}
		for _, want := range []string{"tenant default", "client web", "issuer auth-example-com", "user alice", "user "} {
			if !ids[want] {
				t.Errorf("%q is not listed: %v", want, ids)
			}
		}
		if others, err := w.Suspensions(t.Context(), secrets{}, "other"); len(others) != 0 || err != nil {
			t.Errorf("another tenant has %v, %v", others, err)
		}
	})
}
