package models_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// capped bounds the sessions of its user at its client.
func capped(limit int, whenFull string) func(*models.NewSession) {
	return func(n *models.NewSession) { n.Cap = &settings.SessionCap{Limit: limit, WhenFull: whenFull} }
}

func (w *fixture) live() int {
	w.Helper()
	return w.number("SELECT count(*) FROM sessions WHERE ended_at IS NULL")
}

// Sixteen devices of a user sign in at once, on two nodes.
func TestTheCapHoldsAmongParallelExchanges(t *testing.T) {
	for whenFull, want := range map[string]struct{ opened, refused, events int64 }{
		"":                 {16, 0, 16 + 13},
		settings.EndOldest: {16, 0, 16 + 13},
		settings.Reject:    {3, 13, 3},
	} {
		t.Run(whenFull, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				nodes := []*models.Store{w.Store, w.another(models.Options{})}
				var opened, refused atomic.Int64
				together(16, func(i int) {
					switch _, err := nodes[i%2].CreateSession(t.Context(), w.alice(capped(3, whenFull)), signs); {
					case err == nil:
						opened.Add(1)
					case errors.Is(err, models.ErrSessionLimit):
						refused.Add(1)
					default:
						t.Error(err)
					}
				})
				if opened.Load() != want.opened || refused.Load() != want.refused || w.live() != 3 {
					t.Errorf("%d opened, %d refused, %d live; want %d, %d, 3", opened.Load(), refused.Load(), w.live(), want.opened, want.refused)
				}
				rows := w.rows()
				if rows["spent_tokens"] != int(want.opened) || rows["events"] != int(want.events) {
					t.Errorf("%d tokens are spent and %d events written, want %d and %d", rows["spent_tokens"], rows["events"], want.opened, want.events)
				}
			})
		})
	}
}

func TestTheCapEndsTheOldest(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		first := w.create(w.alice())
		w.clock.Advance(time.Minute)
		second := w.create(w.alice())
		w.clock.Advance(time.Minute)
		w.rotate(first, 0, 1) // in use, and the oldest all the same
		third := w.create(w.alice(capped(2, settings.EndOldest)))
		for row, why := range map[*models.Session]session.EndReason{first: session.Evicted, second: "", third: ""} {
			if got := w.read(row.ID).EndReason; got != why {
				t.Errorf("a session ended for the reason %q, want %q", got, why)
			}
		}
		events, err := w.SessionEvents(t.Context(), acme, first.ID)
		must(t, err)
		last := events[len(events)-1]
		if last.Type != models.EventSessionEnded || last.Details["reason"] != "evicted" || last.ClientID != "web" || last.IssuerID != w.issuer || last.Subject != "alice" || !last.At.Equal(w.Now()) {
			t.Errorf("the last event is %+v", last)
		}
	})
}

// A user whose sessions are all rejected is not locked out by them.
func TestTheCapCountsUsableSessions(t *testing.T) {
	for name, change := range map[string]func(w *fixture, row *models.Session){
		"not one that was ended": func(w *fixture, row *models.Session) {
			must(w, w.EndSession(w.Context(), row, w.Now(), session.SignedOut))
		},
		"not one that idled": func(w *fixture, _ *models.Session) { w.clock.Advance(time.Hour) },
		"not one that reached its end": func(w *fixture, _ *models.Session) {
			w.exec("UPDATE sessions SET absolute_expires_at = ?", w.Now().UnixMicro())
		},
		"not one of before its client was disabled":  func(w *fixture, _ *models.Session) { w.offAndOn("client") },
		"not one of before its issuer was disabled":  func(w *fixture, _ *models.Session) { w.offAndOn("issuer") },
		"not one of before its tenant was disabled":  func(w *fixture, _ *models.Session) { w.offAndOn("tenant") },
		"not one at another client":                  func(w *fixture, _ *models.Session) { w.exec("UPDATE sessions SET client_id = 'shop'") },
		"not one of another user":                    func(w *fixture, _ *models.Session) { w.exec("UPDATE sessions SET subject = 'bob'") },
		"not one of another tenant's user like them": func(w *fixture, _ *models.Session) { w.exec("UPDATE sessions SET tenant_id = 'other'") },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				row := w.create(w.alice())
				if _, err := w.CreateSession(t.Context(), w.alice(capped(1, settings.Reject)), signs); !errors.Is(err, models.ErrSessionLimit) {
					t.Errorf("before, an exchange returned %v", err)
				}
				change(w, row)
				w.create(w.alice(capped(1, settings.Reject)))
			})
		})
	}
}

func (w *fixture) offAndOn(kind string) {
	w.Helper()
	w.clock.Advance(time.Second)
	w.switched(kind, true)
	w.clock.Advance(time.Second)
	w.switched(kind, false)
}
