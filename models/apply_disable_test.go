package models_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// switches disable and enable one part of the tenant.
var switches = map[string]struct {
	set   func(spec *settings.TenantSpec, disabled bool)
	mark  func(c *models.TenantConfig) models.Time
	event models.EventType
}{
	"tenant": {func(s *settings.TenantSpec, disabled bool) { s.Disabled = disabled },
		func(c *models.TenantConfig) models.Time { return c.SessionsValidFrom }, models.EventTenantDisabled},
	"client": {func(s *settings.TenantSpec, disabled bool) { s.Clients[0].Disabled = disabled },
		func(c *models.TenantConfig) models.Time { return c.Clients[1].SessionsValidFrom }, models.EventClientDisabled},
	"issuer": {func(s *settings.TenantSpec, disabled bool) { s.TrustedIssuers[0].Disabled = disabled },
		func(c *models.TenantConfig) models.Time { return c.Issuers[0].SessionsValidFrom }, models.EventIssuerDisabled},
}

func (w *fixture) switched(kind string, disabled bool) models.Time {
	w.Helper()
	spec := tenant()
	switches[kind].set(&spec, disabled)
	w.apply(spec)
	return switches[kind].mark(w.config())
}

func TestDisablingSetsTheCutoffOfTheRow(t *testing.T) {
	for kind, s := range switches {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				row := w.create(w.alice())
				if mark := s.mark(w.config()); !mark.IsZero() {
					t.Errorf("it is cut off at %v before anything was disabled", mark)
				}
				w.clock.Advance(time.Minute)
				if mark := w.switched(kind, true); !mark.Equal(w.Now()) {
					t.Errorf("disabled, it is cut off at %v, want %v", mark, w.Now())
				}
				w.clock.Advance(time.Minute)
				before := w.Now().Add(-time.Minute)
				if mark := w.switched(kind, true); !mark.Equal(before) {
					t.Errorf("disabled twice, it is cut off at %v, want %v", mark, before)
				}
				if n := w.number("SELECT count(*) FROM events WHERE type = ? AND tenant_id = ?", s.event, acme); n != 1 {
					t.Errorf("%d events record it, want 1", n)
				}
				if _, err := w.CreateSession(t.Context(), w.alice(), signs); !errors.Is(err, models.ErrNotPermitted) {
					t.Errorf("an exchange returned %v", err)
				}
				if mark := w.switched(kind, false); !mark.Equal(w.Now()) {
					t.Errorf("enabled again, it is cut off at %v, want %v", mark, w.Now())
				}
				step := w.step(row, 0)
				step.ValidFrom = s.mark(w.config()).Time
				if _, err := w.RotateSession(t.Context(), step); !errors.Is(err, models.ErrNotFound) {
					t.Errorf("a session from before is refreshed: %v", err)
				}
				w.create(w.alice())
				if n := w.number("SELECT count(*) FROM events WHERE type = ?", s.event); n != 1 {
					t.Errorf("%d events record it, want 1", n)
				}
			})
		})
	}
}

func TestDisablingANewObjectSetsNoCutoff(t *testing.T) {
	for kind, s := range switches {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				spec := tenant()
				spec.ID = "fresh"
				s.set(&spec, true)
				w.apply(spec)
				config, err := w.TenantConfig(t.Context(), "fresh")
				must(t, err)
				if mark := s.mark(config); !mark.IsZero() {
					t.Errorf("it is cut off at %v", mark)
				}
				if n := w.number("SELECT count(*) FROM events WHERE type <> 'config_changed'"); n != 0 {
					t.Errorf("%d events record it", n)
				}
			})
		})
	}
}

// secrets is a readable replacement of oauth's Secrets. Root version 2 issues.
type secrets struct{}

func (secrets) DigestClientSecret(tenant, client, secret string) models.Digest {
	return models.Digest{Digest: fmt.Appendf(nil, "%s/%s/%s", tenant, client, secret), RootVersion: 2}
}

func (s secrets) MatchClientSecret(tenant, client, secret string, stored models.Digest) bool {
	return string(stored.Digest) == string(s.DigestClientSecret(tenant, client, secret).Digest)
}

func (secrets) SealIssuerSecret(tenant, issuer, secret string) ([]byte, int64) {
	return fmt.Appendf(nil, "sealed %s/%s/%s", tenant, issuer, secret), 2
}

func (s secrets) MatchIssuerSecret(tenant, issuer, secret string, sealed []byte, _ int64) bool {
	fresh, _ := s.SealIssuerSecret(tenant, issuer, secret)
	return string(sealed) == string(fresh)
}

func (secrets) SealDestinationSecret(tenant, destination, secret string) ([]byte, int64) {
	return []byte(secret), 2
}

func (secrets) OpenDestinationSecret(tenant, destination string, sealed []byte, _ int64) (string, error) {
	return string(sealed), nil
}

func (secrets) SealSuspensionKey(key []byte) ([]byte, int64) {
	return append([]byte("sealed "), key...), 2
}

func (secrets) OpenSuspensionKey(sealed []byte, _ int64) ([]byte, error) {
	return sealed[len("sealed "):], nil
}

// disabling pauses an Apply after it has read the clock: Apply calls this when
// it comes to an issuer's shared secret.
type disabling struct {
	secrets
	meanwhile func()
}

func (d disabling) SealIssuerSecret(tenant, issuer, secret string) ([]byte, int64) {
	d.meanwhile()
	return d.secrets.SealIssuerSecret(tenant, issuer, secret)
}

// An exchange that runs at the same time as the disabling is younger than the
// cutoff that it leaves. Only PostgreSQL runs the two concurrently.
func TestReenablingRevivesNoSession(t *testing.T) {
	for kind, s := range switches {
		t.Run(kind, func(t *testing.T) {
			w := newPostgresFixture(t)
			spec := tenant()
			s.set(&spec, true)
			slow := entry("legacy", "b:")
			slow.Keys = settings.IssuerKeys{SharedSecret: strings.Repeat("h", 32)}
			spec.TrustedIssuers = append([]settings.IssuerSpec{slow}, spec.TrustedIssuers...)
			var row *models.Session
			_, err := w.Apply(t.Context(), []settings.TenantSpec{spec}, disabling{meanwhile: func() {
				w.clock.Advance(time.Second)
				waits, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				var err error
				row, err = w.CreateSession(waits, w.alice(), signs)
				must(t, err)
			}}, models.ApplyOptions{Replace: true})
			must(t, err)
			w.clock.Advance(time.Second)
			w.switched(kind, false)
			config := w.config()
			step := w.step(row, 0)
			for _, mark := range []models.Time{config.SessionsValidFrom, config.Clients[1].SessionsValidFrom} {
				if mark.After(step.ValidFrom) {
					step.ValidFrom = mark.Time
				}
			}
			if _, err := w.RotateSession(t.Context(), step); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("the session lives again: %v", err)
			}
		})
	}
}

func TestDisablingAUserEndsTheirSessions(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		rows := []*models.Session{w.create(w.alice()), w.create(w.alice(func(n *models.NewSession) { n.ClientID = "shop" }))}
		bob := w.create(w.alice(func(n *models.NewSession) { n.Subject = "bob" }))
		over := w.create(w.alice())
		must(t, w.EndSession(t.Context(), over, w.Now(), session.SignedOut))
		w.clock.Advance(time.Minute)
		at := w.Now()
		for range 2 { // the second time nothing is left to do
			w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice", Disabled: true}}})
			w.clock.Advance(time.Minute)
		}
		for _, row := range rows {
			if row = w.read(row.ID); !row.EndedAt.Equal(at) || row.EndReason != session.UserDisabled {
				t.Errorf("a session of theirs ended at %v, %q; want %v", row.EndedAt, row.EndReason, at)
			}
		}
		if over = w.read(over.ID); over.EndReason != session.SignedOut {
			t.Errorf("a session that was over ended for the reason %q", over.EndReason)
		}
		if bob = w.read(bob.ID); !bob.EndedAt.IsZero() {
			t.Errorf("another user's session ended, %q", bob.EndReason)
		}
		if n := w.number("SELECT count(*) FROM events WHERE type = ? AND subject = 'alice'", models.EventUserDisabled); n != 1 {
			t.Errorf("%d events record it, want 1", n)
		}
		if _, err := w.CreateSession(t.Context(), w.alice(), signs); !errors.Is(err, models.ErrUserDisabled) {
			t.Errorf("an exchange returned %v", err)
		}
		w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice"}}})
		if row := w.read(rows[0].ID); row.EndedAt.IsZero() {
			t.Error("enabling the user revives their sessions")
		}
		w.create(w.alice())
	})
}
