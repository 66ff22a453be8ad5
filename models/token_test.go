package models_test

import (
	"testing"
	"time"
)

func TestARevokedTokenIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		revoked := func(tenant, jti string, want bool) {
			t.Helper()
			got, err := w.TokenRevoked(t.Context(), tenant, jti)
			must(t, err)
			if got != want {
				t.Errorf("token %s of %s is revoked: %v, want %v", jti, tenant, got, want)
			}
		}
		revoked(acme, "one", false)
		expiry := w.Now().Add(time.Hour)
		together(8, func(int) {
			if err := w.RevokeToken(t.Context(), acme, "web", "one", []string{"api"}, w.Now(), expiry); err != nil {
				t.Error(err)
			}
		})
		w.clock.Advance(time.Minute)
		must(t, w.RevokeToken(t.Context(), acme, "shop", "one", nil, w.Now(), expiry.Add(time.Hour)))
		revoked(acme, "one", true)
		revoked(acme, "two", false)
		revoked("other", "one", false)
		if rows := w.rows(); rows["revoked_tokens"] != 1 || rows["events"] != 1 {
			t.Errorf("nine revocations made %d rows and %d events", rows["revoked_tokens"], rows["events"])
		}
		if n := w.number("SELECT count(*) FROM revoked_tokens WHERE client_id = 'web' AND expires_at = ?", expiry.UnixMicro()); n != 1 {
			t.Error("a second revocation changed the first")
		}
		var details string
		must(t, w.db.QueryRow("SELECT details FROM events WHERE type = 'token_revoked'").Scan(&details))
		if want := `{"audience":["api"],"jti":"one"}`; details != want {
			t.Errorf("the event has %s, want %s", details, want)
		}
	})
}
