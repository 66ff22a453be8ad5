package models_test

import (
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

func TestRotationReadsTheSessionAsItIsAfterwards(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"id": int64(1<<53 + 1)}) }))
		before := w.rows()
		w.clock.Advance(time.Minute)
		step := w.step(row, 0)
		step.UserAgent, step.IP, step.To.RootVersion = "Firefox", "2001:db8::1", 1<<32-1
		rotated, err := w.RotateSession(t.Context(), step)
		must(t, err)
		want := *row
		want.Refresh = step.To
		want.LastActiveAt, want.IdleExpiry, want.UserAgent, want.IP = w.Now(), step.IdleExpiry, "Firefox", "2001:db8::1"
		want.Scope, want.Audience = rotated.Scope, rotated.Audience // empty or nil alike
		if !reflect.DeepEqual(rotated, &want) {
			t.Errorf("rotated: %+v\nwant:    %+v", rotated, &want)
		}
		if read := w.read(row.ID); !reflect.DeepEqual(read, rotated) {
			t.Errorf("read:    %+v\nrotated: %+v", read, rotated)
		}
		if n := w.number("SELECT generation FROM sessions"); n != 1 {
			t.Errorf("another connection sees generation %d", n)
		}
		w.wantRows(before)
	})
}

// One token, many goroutines, two nodes.
func TestOneOfManyRotationsWins(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		nodes := []*models.Store{w.Store, w.another(models.Options{})}
		row := w.create(w.alice())
		for from := range uint32(4) {
			var won atomic.Int64
			together(32, func(i int) {
				switch _, err := nodes[i%2].RotateSession(t.Context(), w.step(row, from)); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, models.ErrNotFound):
					t.Error(err)
				}
			})
			if got := w.read(row.ID).Refresh.Generation; won.Load() != 1 || got != from+1 {
				t.Errorf("%d rotations won, and the row is at generation %d", won.Load(), got)
			}
		}
	})
}

func TestRotationRejectsEverythingElse(t *testing.T) {
	type step = models.Rotation
	disable := func(set func(*settings.TenantSpec)) func(w *fixture, s *step) {
		return func(w *fixture, _ *step) {
			spec := tenant()
			set(&spec)
			w.apply(spec)
		}
	}
	for name, change := range map[string]func(w *fixture, s *step){
		"another client's token":    func(_ *fixture, s *step) { s.Client = "shop" },
		"another tenant's token":    func(_ *fixture, s *step) { s.Tenant = "other" },
		"another session's id":      func(_ *fixture, s *step) { s.ID = models.NewSessionID() },
		"another secret":            func(_ *fixture, s *step) { s.Presented = digest(9) },
		"no secret":                 func(_ *fixture, s *step) { s.Presented = nil },
		"the next token's secret":   func(_ *fixture, s *step) { s.Presented = digest(1) },
		"an older generation":       func(w *fixture, s *step) { w.exec("UPDATE sessions SET generation = 1") },
		"a newer generation":        func(_ *fixture, s *step) { s.From = 1 },
		"a recovery of the current": func(_ *fixture, s *step) { s.Recover = true },
		"a session that was ended":  func(w *fixture, s *step) { must(w, w.EndSession(w.Context(), w.read(s.ID), w.Now(), session.Revoked)) },
		"a session that just idled": func(w *fixture, s *step) { s.To.RotatedAt = start.Add(time.Hour) },
		"a session at its end": func(w *fixture, s *step) {
			w.exec("UPDATE sessions SET idle_expires_at = NULL")
			s.To.RotatedAt = start.Add(24 * time.Hour)
		},
		"a session before the cutoff": func(_ *fixture, s *step) { s.ValidFrom = start.Add(time.Microsecond) },
		"a disabled user's session":   func(w *fixture, _ *step) { w.exec("UPDATE users SET disabled = ?", true) },
		"a removed user's session":    func(w *fixture, _ *step) { w.exec("DELETE FROM users") },
		"a disabled issuer's":         disable(func(s *settings.TenantSpec) { s.TrustedIssuers[0].Disabled = true }),
		"a removed issuer's session":  func(w *fixture, _ *step) { w.exec("DELETE FROM trusted_issuers") },
		"a session before its issuer's cutoff": func(w *fixture, _ *step) {
			w.clock.Advance(time.Second)
			w.switched("issuer", true)
			w.switched("issuer", false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				row := w.create(w.alice())
				step := w.step(row, 0)
				change(w, &step)
				before := w.read(row.ID)
				rotated, err := w.RotateSession(t.Context(), step)
				if !errors.Is(err, models.ErrNotFound) || rotated != nil {
					t.Errorf("rotated %v, %v", rotated, err)
				}
				if after := w.read(row.ID); !reflect.DeepEqual(after, before) {
					t.Errorf("the session is %+v\nand was       %+v", after, before)
				}
			})
		})
	}
}

func TestRotationSucceedsUntilTheLastMoment(t *testing.T) {
	for name, change := range map[string]func(w *fixture, s *models.Rotation){
		"before it idles": func(_ *fixture, s *models.Rotation) { s.To.RotatedAt = start.Add(time.Hour - time.Microsecond) },
		"before it ends": func(w *fixture, s *models.Rotation) {
			w.exec("UPDATE sessions SET idle_expires_at = NULL")
			s.To.RotatedAt = start.Add(24*time.Hour - time.Microsecond)
		},
		"exactly at its cutoff": func(_ *fixture, s *models.Rotation) { s.ValidFrom = start },
		"after an older cutoff": func(_ *fixture, s *models.Rotation) { s.ValidFrom = start.Add(-time.Hour) },
		"with no limit to idle": func(_ *fixture, s *models.Rotation) { s.IdleExpiry = time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				step := w.step(w.create(w.alice()), 0)
				change(w, &step)
				rotated, err := w.RotateSession(t.Context(), step)
				must(t, err)
				if !rotated.IdleExpiry.Equal(step.IdleExpiry) {
					t.Errorf("it idles at %v, want %v", rotated.IdleExpiry, step.IdleExpiry)
				}
			})
		})
	}
}

// The database lost its last commit: the token that is presented is the one
// after the row's.
func TestARecoveredRotationIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		step := w.step(row, 1)
		step.Recover, step.From = true, 0
		before := w.rows()
		before["events"]++
		w.clock.Advance(time.Minute)
		step.To.RotatedAt = w.Now()
		rotated, err := w.RotateSession(t.Context(), step)
		must(t, err)
		if rotated.Refresh.Generation != 2 || !reflect.DeepEqual(rotated.Refresh.Digest, digest(2)) {
			t.Errorf("recovered to %+v", rotated.Refresh)
		}
		if got := w.events(row.ID); got != "session_created generation_recovered" {
			t.Errorf("events %q", got)
		}
		if _, err := w.RotateSession(t.Context(), step); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("the same recovery passes again: %v", err)
		}
		w.wantRows(before)
	})
}

// A commit can fail after the row has come back.
func TestARotationThatIsNotCommittedIsAnError(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		if w.Dialect() == "postgres" {
			w.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk full' USING ERRCODE = '53100'; END $$`)
			w.exec(`CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`)
		} else {
			w.exec(`CREATE TABLE parent (id INTEGER PRIMARY KEY)`)
			w.exec(`CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)`)
			w.exec(`CREATE TRIGGER late AFTER UPDATE ON sessions BEGIN INSERT INTO child VALUES (1); END`)
		}
		if rotated, err := w.RotateSession(t.Context(), w.step(row, 0)); err == nil || errors.Is(err, models.ErrNotFound) || rotated != nil {
			t.Errorf("rotated %v, %v", rotated, err)
		}
		if got := w.read(row.ID).Refresh.Generation; got != 0 {
			t.Errorf("the row is at generation %d", got)
		}
	})
}
