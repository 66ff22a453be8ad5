package models_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/models/tail"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// tail follows the log of w; the test looks.
func (w *fixture) tail() *tail.Tail {
	w.Helper()
	followed := tail.New(w.Store, slog.New(slog.DiscardHandler))
	must(w, followed.Look(w.Context()))
	return followed
}

// batch waits for the next batch of a subscriber; the zero value means none.
func (w *fixture) batch(s *tail.Subscription) tail.Batch {
	w.Helper()
	select {
	case b := <-s.C:
		return b
	case <-time.After(time.Minute):
		w.Fatal("a subscriber still waits")
		return tail.Batch{}
	}
}

// revoked lists the sessions that a tail knows to be revoked, as names.
func (w *fixture) revoked(followed *tail.Tail, since tail.Position, names map[models.SessionID]string) string {
	w.Helper()
	must(w, followed.Look(w.Context()))
	known, err := followed.Revoked(acme, since)
	must(w, err)
	return sessionNames(known.Revocations, names)
}

func sessionNames(list []*models.Revocation, names map[models.SessionID]string) string {
	var text []string
	for _, r := range list {
		text = append(text, names[*r.SessionID])
	}
	slices.Sort(text)
	return strings.Join(text, " ")
}

// The older event is committed after the tail has seen the newer one.
func TestTheTailMissesNothingThatCommitsOutOfOrder(t *testing.T) {
	w := newFixture(t, testdb.Postgres(t))
	followed := w.tail()
	_, following, err := followed.Subscribe(acme, tail.Position{})
	must(t, err)
	older, newer := w.create(w.alice()), w.create(w.alice())
	names := map[models.SessionID]string{older.ID: "older", newer.ID: "newer"}

	lock, err := w.db.BeginTx(t.Context(), nil)
	must(t, err)
	defer lock.Rollback()
	_, err = lock.Exec("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", older.ID[:])
	must(t, err)
	held, begun := make(chan error, 1), w.Now()
	go func() { held <- w.EndSession(t.Context(), older, begun, session.SignedOut) }()
	for w.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 0 {
		time.Sleep(time.Millisecond)
	}
	w.clock.Advance(time.Second)
	must(t, w.EndSession(t.Context(), newer, w.Now(), session.SignedOut))
	if got := w.revoked(followed, tail.Position{}, names); got != "newer" {
		t.Fatalf("while the older event is not committed, the tail knows %q", got)
	}
	must(t, lock.Rollback())
	must(t, <-held)
	if got := w.revoked(followed, tail.Position{}, names); got != "newer older" {
		t.Errorf("the tail knows %q", got)
	}
	if first, second := sessionNames(w.batch(following).Revocations, names), sessionNames(w.batch(following).Revocations, names); first != "newer" || second != "older" {
		t.Errorf("a subscriber received %q, then %q", first, second)
	}
}

// However late an event is committed, a tail that keeps looking finds it, and a
// reader that returns with a position of another node receives it.
func TestTheTailFindsWhatIsStampedInThePast(t *testing.T) {
	for _, late := range []time.Duration{0, 9 * time.Second, 19 * time.Second, 21 * time.Second, 4 * time.Minute} {
		t.Run(late.String(), func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				first, second := w.create(w.alice()), w.create(w.alice())
				names := map[models.SessionID]string{first.ID: "first", second.ID: "second"}
				here, there := w.tail(), w.tail()
				w.clock.Advance(10 * time.Minute)
				must(t, w.EndSession(t.Context(), first, w.Now(), session.SignedOut))
				if got := w.revoked(here, tail.Position{}, names); got != "first" {
					t.Fatalf("at first the tail knows %q", got)
				}
				known, err := here.Revoked(acme, tail.Position{})
				must(t, err)
				must(t, w.EndSession(t.Context(), second, w.Now().Add(-late), session.SignedOut))
				got := w.revoked(here, tail.Position{}, names)
				if quick := late < 20*time.Second; quick != (got == "first second") {
					t.Errorf("at the next look the tail knows %q", got)
				}
				w.clock.Advance(30 * time.Second)
				if got := w.revoked(here, tail.Position{}, names); got != "first second" {
					t.Errorf("30 s later the tail knows %q", got)
				}
				for name, followed := range map[string]*tail.Tail{"another": there, "one just started": tail.New(w.another(models.Options{}), slog.New(slog.DiscardHandler))} {
					if got := w.revoked(followed, known.Position, names); !strings.Contains(got, "second") {
						t.Errorf("since a position from before, %s returns %q", name, got)
					}
				}
			})
		})
	}
}

func TestAPositionSkipsKnownRevocations(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		before, after := w.create(w.alice()), w.create(w.alice())
		names := map[models.SessionID]string{before.ID: "before", after.ID: "after"}
		followed := w.tail()
		must(t, w.EndSession(t.Context(), before, w.Now(), session.SignedOut))
		must(t, followed.Look(t.Context()))
		w.clock.Advance(time.Minute)
		must(t, followed.Look(t.Context()))
		known, err := followed.Revoked(acme, tail.Position{})
		must(t, err)
		must(t, w.EndSession(t.Context(), after, w.Now(), session.SignedOut))
		for name, c := range map[string]struct {
			since tail.Position
			want  string
		}{
			"the position":                      {known.Position, "after"},
			"none":                              {tail.Position{}, "after before"},
			"an older one":                      {tail.Position{Epoch: known.Position.Epoch, At: start}, "after before"},
			"one of another database":           {tail.Position{Epoch: "another", At: known.Position.At}, "after before"},
			"one of a clock that is far ahead":  {tail.Position{Epoch: known.Position.Epoch, At: w.Now().Add(time.Minute)}, "after before"},
			"one of a clock that is just ahead": {tail.Position{Epoch: known.Position.Epoch, At: w.Now().Add(9 * time.Second)}, "after"},
		} {
			if got := w.revoked(followed, c.since, names); got != c.want {
				t.Errorf("%s: got %q, want %q", name, got, c.want)
			}
		}
	})
}

func TestATailFollowsOneDatabase(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice())
		names := map[models.SessionID]string{row.ID: "ended"}
		followed := w.tail()
		must(t, w.EndSession(t.Context(), row, w.Now(), session.SignedOut))
		must(t, followed.Look(t.Context()))
		known, following, err := followed.Subscribe(acme, tail.Position{})
		must(t, err)
		w.exec("UPDATE settings SET value = 'restored' WHERE name = 'epoch'")
		w.exec("DELETE FROM events")
		w.clock.Advance(30 * time.Second)
		if got := w.revoked(followed, known.Position, names); got != "" {
			t.Errorf("of a database that has lost it, the tail still has %q", got)
		}
		if batch := w.batch(following); batch.Revocations != nil {
			t.Error("the subscription goes on")
		}
		if now, err := followed.Revoked(acme, tail.Position{}); err != nil || now.Position.Epoch != "restored" {
			t.Errorf("the tail speaks of %+v, %v", now, err)
		}
	})
}

func TestSubscribersGetTheirTenantAndDelayNobody(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		followed := w.tail()
		subscribe := func(tenant string) *tail.Subscription {
			_, s, err := followed.Subscribe(tenant, tail.Position{})
			must(t, err)
			return s
		}
		slow, quick, stranger := subscribe(acme), subscribe(acme), subscribe("neighbour")
		const looks = 65 // one more than are kept for a reader
		for i := range looks {
			must(t, w.RevokeToken(t.Context(), acme, "web", fmt.Sprint(i), nil, w.Now(), w.Now().Add(time.Hour)))
			must(t, followed.Look(t.Context()))
			if batch := w.batch(quick); len(batch.Revocations) != 1 || batch.Revocations[0].TokenID != fmt.Sprint(i) {
				t.Fatalf("look %d published %+v", i, batch)
			}
		}
		told := 0
		for w.batch(slow).Revocations != nil {
			told++
		}
		if told != looks-1 {
			t.Errorf("the slow reader received %d batches before it was cut off", told)
		}
		stranger.Close()
		if batch := w.batch(stranger); batch.Revocations != nil {
			t.Errorf("another tenant receives %+v", batch)
		}
		slow.Close() // a second time
		quick.Close()
	})
}

func TestATailThatCannotLookReportsIt(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		followed := tail.New(w.Store, slog.New(slog.DiscardHandler))
		unknowing := func(when string) {
			t.Helper()
			_, fresh := followed.Fresh()
			_, revoked := followed.Revoked(acme, tail.Position{})
			_, _, subscribed := followed.Subscribe(acme, tail.Position{})
			for _, err := range []error{fresh, revoked, subscribed} {
				if !errors.Is(err, models.ErrUnavailable) {
					t.Errorf("%s: %v", when, err)
				}
			}
		}
		unknowing("before it has looked")
		must(t, followed.Look(t.Context()))
		looked := w.Now()
		w.clock.Advance(settings.RevocationBound - time.Second)
		if asOf, err := followed.Fresh(); err != nil || !asOf.Equal(looked) {
			t.Errorf("as of %v, %v", asOf, err)
		}
		w.clock.Advance(time.Second)
		unknowing("when it has not looked for long")
	})
}

func TestTheTailReadsMoreThanOnePage(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		const many = 5001 // more than one page
		behind, ahead := w.tail(), tail.New(w.Store, slog.New(slog.DiscardHandler))
		tx, err := w.db.BeginTx(t.Context(), nil)
		must(t, err)
		insert, err := tx.Prepare(w.placeholders(`INSERT INTO events (id, at, tenant_id, type, client_id, subject, until, details)
			VALUES (?, ?, 'default', 'token_revoked', 'web', '', ?, ?)`))
		must(t, err)
		defer insert.Close()
		at := w.Now().UnixMicro()
		for i := range many {
			id := binary.BigEndian.AppendUint64(nil, uint64(at))
			id = binary.BigEndian.AppendUint64(id, uint64(i))
			_, err := insert.Exec(id, at, at+3600*1e6, fmt.Sprintf(`{"jti":"%d"}`, i))
			must(t, err)
		}
		must(t, tx.Commit())
		for name, followed := range map[string]*tail.Tail{"at first": ahead, "at a later look": behind} {
			must(t, followed.Look(t.Context()))
			known, err := followed.Revoked(acme, tail.Position{})
			must(t, err)
			if n := len(known.Revocations); n != many {
				t.Errorf("%s it reads %d", name, n)
			}
		}
		w.clock.Advance(time.Hour)
		must(t, behind.Look(t.Context()))
		if known, err := behind.Revoked(acme, tail.Position{}); err != nil || len(known.Revocations) != 0 {
			t.Errorf("%d matter although nobody accepts the tokens any more, %v", len(known.Revocations), err)
		}
	})
}

// Maintenance records such an end some time after it happened.
func TestAMovedEndIsPublishedWhenItIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row, followed := w.create(w.alice()), w.tail()
		names := map[models.SessionID]string{row.ID: "moved"}
		_, err := w.ExtendSession(t.Context(), row, w.Now(), w.Now().Add(10*time.Second), "support")
		must(t, err)
		w.clock.Advance(31 * time.Second)
		if got := w.revoked(followed, tail.Position{}, names); got != "" {
			t.Errorf("published %q before it is noted", got)
		}
		w.clock.Advance(5 * time.Second)
		w.prune()
		if got := w.revoked(followed, tail.Position{}, names); got != "moved" {
			t.Errorf("published %q", got)
		}
	})
}
