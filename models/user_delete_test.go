package models_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// traces counts the rows that still contain a text, in the tables that hold
// anything about users.
func (w *fixture) traces(of string) int {
	w.Helper()
	like := "%" + of + "%"
	return w.number(`SELECT (SELECT count(*) FROM users WHERE sub LIKE ? OR attributes LIKE ?)
		+ (SELECT count(*) FROM sessions WHERE subject LIKE ? OR session_attributes LIKE ? OR device_name LIKE ? OR user_agent LIKE ? OR ip LIKE ?)
		+ (SELECT count(*) FROM events WHERE subject LIKE ? OR details LIKE ?)`, like, like, like, like, like, like, like, like, like)
}

func TestDeletingAUserLeavesNothingOfThem(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		personal := func(n *models.NewSession) {
			n.Mapped = mapped(map[string]any{"email": "alice@example.com"})
			n.Attributes = map[string]any{"phone": "laptop-of-alice"}
			n.DeviceName, n.UserAgent, n.IP = "Phone of alice", "agent-of-alice", "198.51.100.77"
			n.RecordCreation = map[string]any{"ip": "198.51.100.77", "user_agent": "agent-of-alice", "amr": []string{"pwd"}}
		}
		live, over := w.create(w.alice(personal)), w.create(w.alice(personal))
		must(t, w.EndSession(t.Context(), over, w.Now(), "signed_out"))
		bob := w.create(w.alice(func(n *models.NewSession) { n.Subject, n.IP = "bob", "203.0.113.9" }))
		must(t, w.AddEvent(t.Context(), bob.Event(w.Now(), models.EventStepUpRefused, map[string]any{"sub": "alice", "ip": "203.0.113.9"})))
		w.clock.Advance(time.Minute)

		done, err := w.DeleteUser(t.Context(), acme, "alice", models.ServerActor)
		must(t, err)
		if done.Sessions != 1 || !strings.HasPrefix(done.Pseudonym, "deleted-") || len(done.Pseudonym) < 30 {
			t.Errorf("%+v", done)
		}
		for _, text := range []string{"alice", "198.51.100.77"} {
			if n := w.traces(text); n != 0 {
				t.Errorf("%q is still in %d rows", text, n)
			}
		}
		if _, err := w.RotateSession(t.Context(), w.step(live, 0)); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("the session is refreshed: %v", err)
		}
		if n := w.number("SELECT count(*) FROM events WHERE subject = ?", done.Pseudonym); n < 5 {
			t.Errorf("%d events have the pseudonym", n)
		}
		if n := w.number("SELECT count(*) FROM events WHERE session_id = ? AND until > ?", live.ID[:], w.Now().UnixMicro()); n != 1 {
			t.Errorf("%d events tell resource servers that the session ended, want 1", n)
		}
		if row := w.read(bob.ID); !row.EndedAt.IsZero() || w.traces("203.0.113.9") == 0 {
			t.Error("another user lost something")
		}
		if _, err := w.DeleteUser(t.Context(), acme, "alice", models.ServerActor); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("deleting twice returned %v", err)
		}
	})
}

// An event that a request writes after its user was deleted is rewritten as well;
// what the same person does as a new user is not.
func TestEventsOfRequestsInProgressAreRewrittenToo(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		begun := w.Now()
		w.clock.Advance(time.Second)
		done, err := w.DeleteUser(t.Context(), acme, "alice", models.ServerActor)
		must(t, err)
		must(t, w.AddEvent(t.Context(), row.Event(begun, models.EventClaimLeftOut, nil)))
		w.clock.Advance(time.Second)
		w.create(w.alice())
		must(t, w.FinishDeletions(t.Context()))
		if n := w.number("SELECT count(*) FROM user_deletions"); n != 1 {
			t.Error("the deletion is forgotten before every request is over")
		}
		w.clock.Advance(time.Hour)
		must(t, w.FinishDeletions(t.Context()))
		if n := w.number("SELECT count(*) FROM events WHERE subject = 'alice'"); n != 1 {
			t.Errorf("%d events name the user, want the one of the new sign-in", n)
		}
		if n := w.number("SELECT count(*) FROM events WHERE subject = ? AND type = 'claim_left_out'", done.Pseudonym); n != 1 {
			t.Error("the late event is not rewritten")
		}
		if n := w.number("SELECT count(*) FROM user_deletions"); n != 0 {
			t.Error("the sub is kept after the last event was rewritten")
		}
	})
}

// Tokens from before a user was disabled stay revoked when the user is deleted
// soon after.
func TestDeletingADisabledUserKeepsTheirTokensRevoked(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		w.clock.Advance(time.Second)
		w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice", Disabled: true}}})
		w.clock.Advance(time.Second)
		done, err := w.DeleteUser(t.Context(), acme, "alice", models.ServerActor)
		must(t, err)
		if !done.WasDisabled {
			t.Error("that the user was disabled is not reported")
		}
		revoked, err := w.Revocations(t.Context(), w.Now())
		must(t, err)
		if len(revoked) != 1 || revoked[0].SessionID == nil || *revoked[0].SessionID != row.ID || revoked[0].Subject != done.Pseudonym {
			t.Errorf("%d revocations: %+v", len(revoked), revoked)
		}
	})
}

func TestADeletedUserStaysSuspended(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice())
		w.suspend(models.KindUser, "alice")
		done, err := w.DeleteUser(t.Context(), acme, "alice", models.ServerActor)
		must(t, err)
		if !done.Suspended {
			t.Error("the suspension is not reported")
		}
		if _, err := w.CreateSession(t.Context(), w.withDigest(), signs); !errors.Is(err, models.ErrUserDisabled) {
			t.Errorf("a sign-in returned %v", err)
		}
		w.resume(models.KindUser, "alice")
		w.create(w.withDigest())
	})
}

// A sign-in at the same moment is before or after: its session ends too, or is
// a new user's.
func TestDeletingBesideASignInLeavesNoSessionWithoutAUser(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		node := w.another(models.Options{})
		for i := range 12 {
			sub := fmt.Sprint("user-", i)
			w.create(w.alice(func(n *models.NewSession) { n.Subject = sub }))
			var both sync.WaitGroup
			both.Go(func() {
				if _, err := w.CreateSession(t.Context(), w.alice(func(n *models.NewSession) { n.Subject = sub }), signs); err != nil {
					t.Error(err)
				}
			})
			both.Go(func() {
				if _, err := node.DeleteUser(t.Context(), acme, sub, models.ServerActor); err != nil {
					t.Error(err)
				}
			})
			both.Wait()
		}
		orphans := w.number(`SELECT count(*) FROM sessions WHERE ended_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM users WHERE users.sub = sessions.subject)`)
		if orphans != 0 {
			t.Errorf("%d live sessions have no user", orphans)
		}
	})
}

// Each deletion has a pseudonym of its own, also of one sub that came back.
func TestEventsOfManyDeletionsAreRewrittenInOnePass(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		var pseudonyms []string
		for range 2 {
			row := w.create(w.alice())
			begun := w.Now()
			w.clock.Advance(time.Second)
			done, err := w.DeleteUser(t.Context(), acme, "alice", models.ServerActor)
			must(t, err)
			must(t, w.AddEvent(t.Context(), row.Event(begun, models.EventClaimLeftOut, nil)))
			pseudonyms = append(pseudonyms, done.Pseudonym)
			w.clock.Advance(time.Second)
		}
		late := models.Event{At: w.Now(), TenantID: acme, Type: models.EventClaimLeftOut, Subject: "alice"}
		must(t, w.AddEvent(t.Context(), late)) // of who comes back after both
		w.clock.Advance(2 * time.Hour)
		must(t, w.FinishDeletions(t.Context()))
		for _, pseudonym := range pseudonyms {
			if n := w.number("SELECT count(*) FROM events WHERE subject = ? AND type = 'claim_left_out'", pseudonym); n != 1 {
				t.Errorf("%d late events have the pseudonym of their deletion, want 1", n)
			}
		}
		if n := w.number("SELECT count(*) FROM events WHERE subject = 'alice'"); n != 1 {
			t.Errorf("%d events name the user, want the one after both deletions", n)
		}
	})
}
