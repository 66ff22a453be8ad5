package models_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/models/tail"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// issued is an access token of the session, issued now.
func (w *fixture) issued(row *models.Session) models.Issued {
	return models.Issued{TenantID: acme, ClientID: row.ClientID, Subject: row.Subject, SessionID: &row.ID, TokenID: "of a session", At: w.Now().Truncate(time.Second)}
}

func (w *fixture) wantVerdict(followed *tail.Tail, what string, about models.Issued, want tail.Verdict) {
	w.Helper()
	if got := followed.Verdict(about, 2*time.Second); got != want {
		w.Errorf("%s: %v, want %v", what, got, want)
	}
}

// The other node makes the changes, because a node's own would be Unknown.
func TestATailJudgesTokensByTheirClaims(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		followed, there := w.tail(), w.another(models.Options{})
		ended, alive, sold := w.create(w.alice()), w.create(w.alice()), w.create(w.alice(func(n *models.NewSession) { n.ClientID, n.Subject = "shop", "bob" }))
		machine := models.Issued{TenantID: acme, ClientID: "web", Subject: "web", TokenID: "one", At: w.Now()}
		another := machine
		another.TokenID = "another"
		elsewhere := w.issued(ended)
		elsewhere.TenantID = "elsewhere"
		old := []models.Issued{w.issued(ended), w.issued(alive), w.issued(sold), machine, another, elsewhere}
		judge := func(when string, want ...tail.Verdict) {
			t.Helper()
			must(t, followed.Look(t.Context()))
			for i, name := range []string{"the one that ended", "the one that lives", "bob's", "the machine", "the other machine", "elsewhere"} {
				w.wantVerdict(followed, when+", "+name, old[i], want[i])
			}
		}
		stands, revoked, unsure := tail.NotRevoked, tail.Revoked, tail.Unknown
		judge("at first", stands, stands, stands, stands, stands, stands)
		must(t, there.EndSession(t.Context(), ended, w.Now(), session.SignedOut))
		must(t, there.RevokeToken(t.Context(), acme, "web", "one", nil, w.Now(), w.Now().Add(time.Minute)))
		judge("one ended", revoked, stands, stands, revoked, stands, stands)

		w.clock.Advance(time.Minute)
		apply := func(change func(*settings.TenantSpec)) {
			t.Helper()
			spec := tenant()
			change(&spec)
			_, err := there.Apply(t.Context(), []settings.TenantSpec{spec}, secrets{}, models.ApplyOptions{Replace: true})
			must(t, err)
		}
		apply(func(spec *settings.TenantSpec) { spec.Users = []settings.UserSpec{{Sub: "bob", Disabled: true}} })
		judge("a user was disabled", revoked, stands, unsure, revoked, stands, stands)
		apply(func(spec *settings.TenantSpec) { spec.Clients[0].Disabled = true })
		judge("a client was disabled", revoked, unsure, unsure, revoked, unsure, stands)
		before := w.Now().Add(16 * time.Second) // of that
		w.clock.Advance(time.Minute)
		must(t, followed.Look(t.Context()))
		for at, want := range map[time.Time]tail.Verdict{before.Add(-time.Second): unsure, before: stands} {
			about := w.issued(alive)
			about.At = at
			w.wantVerdict(followed, "issued "+at.Sub(before).String()+" from then", about, want)
		}
		apply(func(spec *settings.TenantSpec) { spec.TrustedIssuers[0].Disabled = true })
		must(t, followed.Look(t.Context()))
		sold2 := w.issued(sold)
		sold2.ClientID, sold2.Subject = "shop", "carol"
		w.wantVerdict(followed, "an issuer was disabled, of a client and a user that were not", sold2, unsure)

		w.clock.Advance(25 * time.Hour)
		must(t, there.EndSession(t.Context(), alive, w.Now(), session.Revoked)) // something is left to remember
		judge("when nobody accepts them any more", stands, revoked, stands, stands, stands, stands)
	})
}

func TestATailThatIsNotFreshReturnsUnknown(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		followed := tail.New(w.Store, slog.New(slog.DiscardHandler))
		w.wantVerdict(followed, "before it has looked", w.issued(row), tail.Unknown)
		must(t, followed.Look(t.Context()))
		w.clock.Advance(2*time.Second - 1)
		w.wantVerdict(followed, "just fresh enough", w.issued(row), tail.NotRevoked)
		w.clock.Advance(1)
		w.wantVerdict(followed, "too old", w.issued(row), tail.Unknown)
		must(t, followed.Look(t.Context()))
		w.wantVerdict(followed, "looked again", w.issued(row), tail.NotRevoked)
		w.clock.Advance(-time.Second)
		w.wantVerdict(followed, "by a clock that was set back", w.issued(row), tail.Unknown)
	})
}

// The tail has not looked again: a node's knowledge of its own revocations does
// not depend on it.
func TestANodeReturnsUnknownForItsOwnRevocations(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		rows := make([]*models.Session, 5)
		for i := range rows {
			rows[i] = w.create(w.alice())
		}
		machine := models.Issued{TenantID: acme, ClientID: "web", TokenID: "one", At: w.Now()}
		followed := w.tail()
		revoke := func(name string, about models.Issued, f func() error) {
			t.Helper()
			w.wantVerdict(followed, name+", before", about, tail.NotRevoked)
			must(t, f())
			w.wantVerdict(followed, name, about, tail.Unknown)
		}
		revoke("a sign-out", w.issued(rows[0]), func() error { return w.EndSession(t.Context(), rows[0], w.Now(), session.SignedOut) })
		revoke("reuse", w.issued(rows[1]), func() error {
			return w.EndSession(t.Context(), rows[1], w.Now(), session.ReuseDetected, rows[1].Event(w.Now(), models.EventRefreshReuse, nil))
		})
		revoke("a token", machine, func() error {
			return w.RevokeToken(t.Context(), acme, "web", "one", nil, w.Now(), w.Now().Add(time.Minute))
		})
		revoke("a sign-out of the others", w.issued(rows[2]), func() error {
			_, err := w.EndSessions(t.Context(), acme, "alice", rows[4].ID, w.Now(), session.SignedOut)
			return err
		})
		w.wantVerdict(followed, "the one that is left", w.issued(rows[4]), tail.NotRevoked)
		revoke("an eviction", w.issued(rows[4]), func() error {
			_, err := w.CreateSession(t.Context(), w.alice(func(n *models.NewSession) { n.Cap = &settings.SessionCap{Limit: 1} }), signs)
			return err
		})
		unknown := &models.Session{ID: models.NewSessionID(), TenantID: acme, ClientID: "web"}
		revoke("one that is not there", w.issued(unknown), func() error { return w.EndSession(t.Context(), unknown, w.Now(), session.SignedOut) })
		last := w.create(w.alice())
		revoke("a user who is disabled", w.issued(last), func() error {
			spec := tenant()
			spec.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}}
			_, err := w.Apply(t.Context(), []settings.TenantSpec{spec}, secrets{}, models.ApplyOptions{Replace: true})
			return err
		})

		w.clock.Advance(time.Minute)
		must(t, followed.Look(t.Context()))
		w.wantVerdict(followed, "a minute later it knows", w.issued(rows[0]), tail.Revoked)
		w.wantVerdict(followed, "a minute later it knows that nothing was revoked", models.Issued{TenantID: acme, SessionID: &unknown.ID, At: w.Now()}, tail.NotRevoked)
		w.wantVerdict(followed, "a minute later it knows of who is not concerned", models.Issued{TenantID: acme, ClientID: "web", Subject: "bob", SessionID: &last.ID, At: w.Now()}, tail.NotRevoked)
	})
}

func TestTheLatestDisablingOfAClientCounts(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		followed, there := w.tail(), w.another(models.Options{})
		for _, disabled := range []bool{true, false, true} {
			spec := tenant()
			spec.Clients[0].Disabled = disabled
			_, err := there.Apply(t.Context(), []settings.TenantSpec{spec}, secrets{}, models.ApplyOptions{Replace: true})
			must(t, err)
			w.clock.Advance(30 * time.Minute)
			must(t, followed.Look(t.Context()))
		}
		between := models.Issued{TenantID: acme, ClientID: "web", Subject: "alice", TokenID: "one", At: start.Add(59 * time.Minute)}
		w.wantVerdict(followed, "issued between both times", between, tail.Unknown)
		w.clock.Advance(23 * time.Hour) // nobody accepts what was issued before the first
		must(t, followed.Look(t.Context()))
		w.wantVerdict(followed, "when the first time is forgotten", between, tail.Unknown)
	})
}
