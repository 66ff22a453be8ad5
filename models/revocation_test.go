package models_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/models/tail"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// margin is what a revocation adds to the longest life of an access token.
const margin = session.VerifierTolerance + session.Leeway

// told lists the revocations that a tail that starts now knows, each with what
// it names, the seconds from now to `before` and until it is over, and who may
// know of it.
func (w *fixture) told(names map[models.SessionID]string) string {
	w.Helper()
	known, err := w.tail().Revoked(acme, tail.Position{})
	must(w, err)
	var list []string
	for _, r := range known.Revocations {
		text := "client=" + r.ClientID
		switch {
		case r.SessionID != nil:
			text += " session=" + names[*r.SessionID]
		case r.TokenID != "":
			text += " token=" + r.TokenID
		case r.Subject != "":
			text += " sub=" + r.Subject
		case r.Issuer != "":
			text += " issuer=" + r.Issuer
		}
		if !r.Before.IsZero() {
			text += fmt.Sprint(" before=", r.Before.Sub(w.Now()))
		}
		list = append(list, fmt.Sprint(text, " until=", r.Until.Sub(w.Now())-margin, " ", r.Audience))
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}

func TestEveryEarlyEndIsARevocation(t *testing.T) {
	change := func(prune bool, f func(spec *settings.TenantSpec)) func(*fixture, *models.Session) {
		return func(w *fixture, _ *models.Session) {
			spec := tenant()
			f(&spec)
			_, err := w.Apply(w.Context(), []settings.TenantSpec{spec}, secrets{}, models.ApplyOptions{Replace: true, Prune: prune})
			must(w, err)
		}
	}
	for name, c := range map[string]struct {
		end  func(w *fixture, row *models.Session)
		want string
	}{
		"an end": {func(w *fixture, row *models.Session) {
			must(w, w.EndSession(w.Context(), row, w.Now(), session.ReuseDetected, row.Event(w.Now(), models.EventRefreshReuse, nil)))
			must(w, w.EndSession(w.Context(), row, w.Now(), session.SignedOut))
		}, "client=web session=alice's until=5m0s [api web]"},
		"an eviction": {func(w *fixture, _ *models.Session) {
			w.create(w.alice(func(n *models.NewSession) { n.Cap = &settings.SessionCap{Limit: 1} }))
		}, "client=web session=alice's until=5m0s [api web]"},
		"a token": {func(w *fixture, _ *models.Session) {
			must(w, w.RevokeToken(w.Context(), acme, "web", "one", []string{"api"}, w.Now(), w.Now().Add(time.Minute)))
		}, "client=web token=one until=30s [api]"},
		"a user who is disabled": {change(false, func(spec *settings.TenantSpec) {
			spec.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}}
		}), "client= sub=alice before=3s until=24h0m3s [api shop web]"},
		"a client that is disabled": {change(false, func(spec *settings.TenantSpec) { spec.Clients[0].Disabled = true }),
			"client=web before=16s until=24h0m16s []"},
		"a client that is removed": {change(true, func(spec *settings.TenantSpec) { spec.Clients = spec.Clients[1:] }),
			"client=web before=16s until=24h0m16s []"},
		"an issuer that is disabled": {change(false, func(spec *settings.TenantSpec) { spec.TrustedIssuers[0].Disabled = true }),
			"client= issuer=https://auth.example.com before=3s until=24h0m3s []"},
		"an issuer that is removed": {change(true, func(spec *settings.TenantSpec) { spec.TrustedIssuers = nil }),
			"client= issuer=https://auth.example.com before=3s until=24h0m3s []"},
		"a tenant that is disabled": {change(false, func(spec *settings.TenantSpec) { spec.Disabled = true }),
			"client= before=16s until=24h0m16s []"},
		"a tenant that is removed": {change(true, func(spec *settings.TenantSpec) { spec.ID = "another" }),
			"client= before=16s until=24h0m16s []"},
		"a sign-out everywhere": {func(w *fixture, _ *models.Session) {
			_, err := w.EndSessions(w.Context(), acme, "alice", models.SessionID{}, w.Now(), session.Revoked)
			must(w, err)
		}, "client=shop session= until=5m0s [shop]; client=web session=alice's until=5m0s [api web]"},
		"an end that was moved to come before its tokens": {func(w *fixture, row *models.Session) {
			_, err := w.ExtendSession(w.Context(), row, w.Now(), w.Now().Add(10*time.Second), "support")
			must(w, err)
			w.clock.Advance(30 * time.Second)
			w.prune()
		}, "client=web session=alice's until=4m40s [api web]"},
		"an end that was moved": {func(w *fixture, row *models.Session) {
			_, err := w.ExtendSession(w.Context(), row, w.Now(), w.Now().Add(10*time.Minute), "support")
			must(w, err)
			w.clock.Advance(11 * time.Minute)
			w.prune()
		}, ""},
		"nothing but time": {func(w *fixture, _ *models.Session) {
			w.clock.Advance(48 * time.Hour)
			w.prune()
			if n := w.number("SELECT count(*) FROM events WHERE type = 'session_ended'"); n != 2 {
				w.Errorf("%d sessions ended", n)
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				row := w.create(w.alice(func(n *models.NewSession) { n.Audience = []string{"api", "web"} }))
				w.create(w.alice(func(n *models.NewSession) { n.ClientID, n.Audience = "shop", []string{"shop"} }))
				w.clock.Advance(time.Minute)
				c.end(w, row)
				if got := w.told(map[models.SessionID]string{row.ID: "alice's"}); got != c.want {
					t.Errorf("published %q, want %q", got, c.want)
				}
			})
		})
	}
}

// Events of Apply are written at the end of its transaction, however long it took.
func TestAnEventOfApplyIsStampedAtItsEnd(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		spec := tenant()
		spec.Clients[0].Disabled = true
		spec.TrustedIssuers[0].Keys = settings.IssuerKeys{SharedSecret: "a shared secret of the issuer of tests"}
		slow := disabling{meanwhile: func() { w.clock.Advance(time.Minute) }}
		_, err := w.Apply(t.Context(), []settings.TenantSpec{spec}, slow, models.ApplyOptions{Replace: true})
		must(t, err)
		if w.Now().Equal(start) {
			t.Fatal("it took no time")
		}
		if n := w.number("SELECT count(*) FROM events WHERE type = 'client_disabled' AND at = ?", w.Now().UnixMicro()); n != 1 {
			t.Error("its event has an earlier moment")
		}
	})
}

// A revocation matters for as long as the longest-lived token of the last day.
func TestARevocationOutlivesTokensWithAnEarlierLifetime(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		life := func(ttl time.Duration) {
			spec := tenant()
			spec.Clients[0].AccessTokenTTL = new(settings.Duration(ttl))
			w.apply(spec)
		}
		for _, step := range []struct {
			after    time.Duration
			ttl      time.Duration // 0: unchanged
			want     time.Duration
			describe string
		}{
			{0, 0, 5 * time.Minute, "as it was made"},
			{time.Hour, time.Hour, time.Hour, "made longer"},
			{time.Hour, 10 * time.Minute, time.Hour, "made shorter"},
			{time.Hour, time.Minute, time.Hour, "made shorter once more"},
			{23 * time.Hour, 0, time.Hour, "a day after the first time"},
			{time.Hour + 15*time.Second, 0, time.Minute, "a day after the last"},
			{0, 20 * time.Minute, 20 * time.Minute, "made longer again"},
		} {
			w.clock.Advance(step.after)
			if step.ttl != 0 {
				life(step.ttl)
			}
			row := w.create(w.alice())
			must(t, w.EndSession(t.Context(), row, w.Now(), session.SignedOut))
			until := w.number("SELECT until FROM events WHERE session_id = ? AND type = 'session_ended'", row.ID[:])
			if got := time.UnixMicro(int64(until)).Sub(w.Now()) - margin; got != step.want {
				t.Errorf("%s: known for %s, want %s", step.describe, got, step.want)
			}
		}
	})
}

// Rows that an earlier release wrote have no recorded lifetime: the longest counts.
func TestALifetimeThatIsNotRecordedIsTheLongest(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.exec("UPDATE clients SET access_ttl = NULL")
		known := func() time.Duration {
			row := w.create(w.alice())
			must(t, w.EndSession(t.Context(), row, w.Now(), session.SignedOut))
			until := w.number("SELECT until FROM events WHERE session_id = ? AND type = 'session_ended'", row.ID[:])
			return time.UnixMicro(int64(until)).Sub(w.Now()) - margin
		}
		if got := known(); got != session.MaxAccessTTL {
			t.Errorf("known for %s", got)
		}
		if changes := w.apply(tenant()); len(changes) != 0 {
			t.Errorf("to note it is a change: %v", changes)
		}
		w.clock.Advance(25 * time.Hour)
		if got := known(); got != 5*time.Minute {
			t.Errorf("a day after it was noted, known for %s", got)
		}
	})
}
