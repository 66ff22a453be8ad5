package models

import (
	"context"
	"maps"
	"strings"
	"sync"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// written is what one attempt at a transaction wrote to the event log.
type written struct{ events []Event }

type writtenKey struct{}

// withWritten begins an attempt. What an earlier one wrote was rolled back.
func withWritten(ctx context.Context) (context.Context, *written) {
	w := new(written)
	return context.WithValue(ctx, writtenKey{}, w), w
}

func noteWritten(db *gorm.DB, e Event) {
	if w, is := db.Statement.Context.Value(writtenKey{}).(*written); is {
		w.events = append(w.events, e)
	}
}

// report counts what was committed, and warns of what a person should look at.
func (s *Store) report(w *written, err error) error {
	if err != nil || w == nil {
		return err
	}
	for _, e := range w.events {
		if e.again {
			continue
		}
		s.tally.add(e)
		s.sessions.note(e)
		s.warn(e)
	}
	return nil
}

// warn writes at most one line, which has ids and never a token.
func (s *Store) warn(e Event) {
	text := e.warning()
	if text == "" {
		return
	}
	line := []any{"event", string(e.Type), "tenant", e.TenantID, "client", e.ClientID}
	if e.SessionID != nil {
		line = append(line, "session", e.SessionID.String())
	}
	for _, name := range []string{"generation", "iss"} {
		if value, is := e.Details[name]; is {
			line = append(line, name, value)
		}
	}
	if e.Cause != nil {
		line = append(line, "cause", e.Cause)
	}
	s.log.Warn(text, line...)
}

// tally counts events by their outward name, since the node began.
type tally struct {
	mu     sync.Mutex
	events map[string]float64
}

func (t *tally) add(e Event) {
	if eventNames[e.Type].beside {
		return // session_ended is counted
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.events == nil {
		t.events = map[string]float64{}
	}
	t.events[e.Outward()]++
}

// EventCounts tells how many events of each outward name this Store has
// committed. Every name is there from the beginning, so that its first event is
// an increase.
func (s *Store) EventCounts() map[string]float64 {
	counts := map[string]float64{}
	for stored := range eventNames {
		name := Event{Type: stored}.pattern()
		if !strings.Contains(name, reasonPlace) {
			counts[name] = 0
			continue
		}
		for _, why := range session.EndReasons {
			counts[strings.Replace(name, reasonPlace, string(why), 1)] = 0
		}
	}
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	maps.Copy(counts, s.tally.events)
	return counts
}
