package testsdk

import (
	"errors"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

func TestATokenForATargetIsValidThereOnly(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		api, files := "https://api.example.com", "https://files.example.com"
		s, err := w.web.CreateSession(t.Context(), w.proof("alice", "pwd"), latchkey.CreateParams{
			Audience: []string{"web", api}, Resource: []string{files}, Scope: []string{"profile", "orders:read"},
		})
		w.ok(err)
		for range 2 {
			for want, target := range map[string]latchkey.Target{
				api:   {Audience: []string{api}, Scope: []string{"orders:read"}},
				files: {Resource: []string{files}, Scope: []string{"orders:read"}},
			} {
				w.lose(2)
				got, err := w.web.TokenFor(t.Context(), s, target)
				w.ok(err)
				if claims := w.Introspect("", got.AccessToken).JSON; claims["active"] != true || claims["aud"] != want || claims["scope"] != "orders:read" {
					t.Errorf("the token for %s is %v", want, claims)
				}
				if err := w.web.EndAllSessions(t.Context(), got.AccessToken); !errors.Is(err, latchkey.ErrInvalidToken) {
					t.Errorf("the session API takes the token for %s: %v", want, err)
				}
			}
			own, err := w.web.AccessToken(t.Context(), s)
			w.ok(err)
			_, err = w.web.ValidateSession(t.Context(), own.AccessToken)
			w.ok(err)
			w.Clock.Advance(time.Hour) // by now a used refresh token would end the session
		}
		_, err = w.web.TokenFor(t.Context(), s, latchkey.Target{Audience: []string{"https://other.example.com"}})
		if code(err) != "invalid_target" {
			t.Errorf("a target that was not granted: %v", err)
		}
		w.ok(w.web.RefreshSession(t.Context(), s))
	})
}
