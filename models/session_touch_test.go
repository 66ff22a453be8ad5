package models_test

import (
	"errors"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

func TestTouchSessionMovesTheIdleEndOfALiveSessionOnly(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice(func(n *models.NewSession) {
			n.SessionToken = models.Chain{Digest: digest(7), Next: digest(8), RootVersion: 1}
		}))
		touch := func(change func(*models.Touch)) error {
			t.Helper()
			by := models.Touch{
				Tenant: acme, Client: "web", ID: row.ID, Digest: digest(7), At: w.Now(), IdleExpiry: w.Now().Add(time.Hour),
				UserAgent: "agent", IP: "192.0.2.7",
			}
			if change != nil {
				change(&by)
			}
			touched, err := w.TouchSession(t.Context(), by)
			if err == nil && (!touched.LastActiveAt.Equal(w.Now()) || !touched.IdleExpiry.Equal(w.Now().Add(time.Hour)) || touched.UserAgent != "agent" || touched.IP != "192.0.2.7") {
				t.Errorf("%+v", touched)
			}
			return err
		}
		refused := func(why string, change func(*models.Touch)) {
			t.Helper()
			before := w.read(row.ID)
			if err := touch(change); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("%s: %v", why, err)
			}
			if after := w.read(row.ID); !after.LastActiveAt.Equal(before.LastActiveAt) {
				t.Errorf("%s: it was touched", why)
			}
		}
		w.clock.Advance(time.Minute)
		must(t, touch(nil))
		w.clock.Advance(time.Minute)
		refused("another tenant", func(by *models.Touch) { by.Tenant = "nobody" })
		refused("another client", func(by *models.Touch) { by.Client = "shop" })
		refused("another session token", func(by *models.Touch) { by.Digest = digest(8) })
		refused("made before its client", func(by *models.Touch) { by.ValidFrom = row.CreatedAt.Add(time.Second) })
		w.clock.Advance(58*time.Minute + time.Second)
		must(t, touch(nil))
		w.clock.Advance(time.Hour)
		refused("idle", nil)
		w.exec("UPDATE sessions SET idle_expires_at = NULL")
		must(t, touch(func(by *models.Touch) { by.IdleExpiry = w.Now().Add(time.Hour) }))
		w.switched("issuer", true)
		refused("its issuer disabled", nil)
		w.exec("UPDATE trusted_issuers SET disabled = false, sessions_valid_from = NULL")
		must(t, touch(nil))
		must(t, w.EndSession(t.Context(), row, w.Now(), session.SignedOut))
		w.clock.Advance(time.Second)
		refused("over", nil)
	})
}
