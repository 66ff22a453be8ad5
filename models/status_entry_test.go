package models_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// listed is a new session that is to be on a status list.
func (w *fixture) listed(change ...func(*models.NewSession)) models.NewSession {
	return w.alice(append(change, func(n *models.NewSession) { n.OnStatusList = true })...)
}

// tiny are two nodes whose lists have 8 entries.
func (w *fixture) tiny() []*models.Store {
	return []*models.Store{w.another(models.Options{StatusListSize: 8}), w.another(models.Options{StatusListSize: 8})}
}

func (w *fixture) over(list int64) []uint32 {
	w.Helper()
	state, err := w.StatusList(w.Context(), acme, list)
	must(w, err)
	slices.Sort(state.Over)
	return state.Over
}

func TestAStatusEntryIsReadBackAndHasOneSession(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		created := w.create(w.listed())
		if read := w.read(created.ID); read.Status == nil || *read.Status != *created.Status {
			t.Errorf("read %v, written %v", read.Status, created.Status)
		}
		if plain := w.create(w.alice()); plain.Status != nil || w.read(plain.ID).Status != nil {
			t.Errorf("a session that is on no list has %v", plain.Status)
		}
		other := w.create(w.listed())
		if _, err := w.db.Exec(w.placeholders("UPDATE sessions SET status_index = ? WHERE id = ?"), created.Status.Index, other.ID[:]); err == nil {
			t.Error("the database lets two sessions have one entry")
		}
	})
}

// Two exchanges that draw the same entry at once do not both get it, and none is
// rejected: when lists are full, another is opened.
func TestExchangesAtOnceGetDifferentEntries(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		nodes := w.tiny()
		var mu sync.Mutex
		taken := map[models.StatusEntry]int{}
		together(24, func(i int) {
			for range 4 {
				create := func() (*models.Session, error) {
					return nodes[i%2].CreateSession(t.Context(), w.listed(func(n *models.NewSession) { n.Subject = string(rune('a' + i)) }), signs)
				}
				created, err := create()
				// On a busy machine, an exchange may wait too long for SQLite's one lock.
				for attempt := 0; errors.Is(err, models.ErrUnavailable) && attempt < 5; attempt++ {
					created, err = create()
				}
				if err != nil {
					t.Error(err)
					continue
				}
				mu.Lock()
				taken[*created.Status]++
				mu.Unlock()
			}
		})
		lists := map[int64]int{}
		for entry, sessions := range taken {
			if lists[entry.List]++; sessions != 1 || entry.Index < 0 || entry.Index >= 8 {
				t.Errorf("%d sessions have the entry %+v", sessions, entry)
			}
		}
		if opened := w.number("SELECT count(*) FROM status_lists"); len(taken) != 96 || len(lists) < 12 || opened > 48 {
			t.Errorf("%d sessions are on %d of %d lists", len(taken), len(lists), opened)
		}
		if first := lists[0]; first < 4 {
			t.Errorf("another list was opened when the first had %d sessions", first)
		}
	})
}

func TestStatusEntriesAreDrawnAtRandom(t *testing.T) {
	w := newFixture(t, testdb.SQLite(t))
	var drawn []int64
	for range 64 {
		drawn = append(drawn, w.create(w.listed()).Status.Index)
	}
	if slices.IsSorted(drawn) || slices.Max(drawn) < 1<<18 || slices.Min(drawn) > 3<<18 {
		t.Errorf("drawn were %v", drawn)
	}
}

// Every copy of the list must have expired when the entry belongs to another
// session.
func TestAStatusEntryIsClearedLongBeforeItIsAnotherSessions(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.listed())
		must(t, w.EndSession(t.Context(), row, w.Now(), session.SignedOut))
		entry := []uint32{uint32(row.Status.Index)}
		for _, c := range []struct {
			passed time.Duration
			rows   int
			over   []uint32
		}{
			{0, 1, entry},
			{session.MaxAccessTTL + 90*time.Second, 1, entry},                // until no verifier accepts a token
			{session.MaxAccessTTL + 2*time.Minute, 1, nil},                   // and then for as long as a copy may live,
			{session.MaxAccessTTL + 2*time.Minute + 420*time.Second, 1, nil}, // with the tolerance of a verifier,
			{session.Retention, 0, nil},                                      // it is nobody's
		} {
			w.clock.Advance(row.CreatedAt.Add(c.passed).Sub(w.Now()))
			w.prune()
			if rows, over := w.rows()["sessions"], w.over(row.Status.List); rows != c.rows || !slices.Equal(over, c.over) {
				t.Errorf("%s after the end there are %d rows, and %v are over", c.passed, rows, over)
			}
		}
	})
}

func TestStatusListsEndWhenTheyAreNotNeeded(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		node := w.another(models.Options{StatusListSize: 64})
		var rows []*models.Session
		last := map[int64]*models.Session{} // of each list
		for range 160 {
			row, err := node.CreateSession(t.Context(), w.listed(), signs)
			must(t, err)
			rows, last[row.Status.List] = append(rows, row), row
		}
		open := func() int { return w.number("SELECT count(*) FROM status_lists WHERE ended_at IS NULL") }
		maintain := func() {
			t.Helper()
			w.prune()
			must(t, w.EndStatusLists(t.Context()))
		}
		w.clock.Advance(10 * time.Minute)
		maintain()
		if len(last) < 2 || open() != len(last) {
			t.Fatalf("%d of %d lists are open while they are full", open(), len(last))
		}
		for _, row := range rows {
			if last[row.Status.List] != row {
				must(t, w.EndSession(t.Context(), row, w.Now(), session.SignedOut))
			}
		}
		w.clock.Advance(session.Retention)
		newest := last[int64(len(last)-1)] // has idled, and is remembered
		if maintain(); open() != len(last)-1 {
			t.Errorf("%d of %d lists are open while they are nearly empty", open(), len(last))
		}
		if row := w.create(w.listed()); row.Status.List == newest.Status.List {
			t.Error("a session got an entry of a list that has ended")
		}
		if over := w.over(newest.Status.List); !slices.Equal(over, []uint32{uint32(newest.Status.Index)}) {
			t.Errorf("of the list that has ended %v are over", over)
		}
		for range last {
			maintain()
		}
		if open() != 1 {
			t.Errorf("%d lists are open for two sessions", open())
		}

		w.clock.Advance(2 * session.Retention)
		maintain() // the sessions idle,
		w.clock.Advance(session.Retention)
		if maintain(); open() != 0 { // and are forgotten
			t.Errorf("%d lists are open for nobody", open())
		}
		if _, err := w.StatusList(t.Context(), acme, newest.Status.List); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("the list that has ended: %v", err)
		}
		opened := w.number("SELECT count(*) FROM status_lists") // perhaps one more, of which nobody had an entry
		if again := w.create(w.listed()); again.Status.List != int64(opened) {
			t.Errorf("the next list is number %d, want %d", again.Status.List, opened)
		}
		w.exec("DELETE FROM sessions")
		if maintain(); open() != 1 {
			t.Error("a list ended while an exchange may be about to take an entry of it")
		}
		w.clock.Advance(5 * time.Minute)
		if maintain(); open() != 0 {
			t.Error("a list is open for nobody")
		}
	})
}

// A disabled object has no valid session, whatever Sweep has done.
func TestAStatusListIncludesSessionsOfDisabledObjects(t *testing.T) {
	for kind := range switches {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				w.clock.Advance(time.Minute)
				before, beside := w.create(w.listed()), w.create(w.listed())
				w.clock.Advance(time.Minute)
				w.switched(kind, true)
				w.exec("UPDATE sessions SET created_at = ? WHERE id = ?", w.Now().Add(time.Second).UnixMicro(), beside.ID[:]) // its exchange ran beside
				both := []uint32{uint32(before.Status.Index), uint32(beside.Status.Index)}
				slices.Sort(both)
				expect := func(when string, want []uint32) {
					t.Helper()
					if over := w.over(0); !slices.Equal(over, want) {
						t.Errorf("%s %v are over, want %v", when, over, want)
					}
				}
				expect("at once", both)
				w.clock.Advance(time.Hour)
				must(t, w.Sweep(t.Context()))
				expect("when it is swept", both)
				w.switched(kind, false)
				after := w.create(w.listed())
				expect("switched on again", both)
				must(t, w.Sweep(t.Context()))
				expect("when it is swept again", both)
				if slices.Contains(both, uint32(after.Status.Index)) {
					t.Error("a new session has the entry of an old one")
				}
			})
		})
	}
}
