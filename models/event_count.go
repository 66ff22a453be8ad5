package models

import (
	"context"
	"maps"
	"strings"
	"sync"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// written holds the events that one attempt at a transaction has written.
type written struct{ events []Event }

type writtenKey struct{}

// withWritten begins an attempt. The events of an earlier attempt were rolled
// back.
func withWritten(ctx context.Context) (context.Context, *written) {
	w := new(written)
	return context.WithValue(ctx, writtenKey{}, w), w
}

func noteWritten(db *gorm.DB, e Event) {
	if w, is := db.Statement.Context.Value(writtenKey{}).(*written); is {
		w.events = append(w.events, e)
	}
}

// earlierOfSession returns how many events of the same session the transaction has
// written already. All may have the same moment, and ids have to be in order.
func earlierOfSession(db *gorm.DB, e Event) (n int64) {
	w, is := db.Statement.Context.Value(writtenKey{}).(*written)
	if !is || e.SessionID == nil {
		return 0
	}
	for _, other := range w.events {
		if other.SessionID != nil && *other.SessionID == *e.SessionID {
			n++
		}
	}
	return n
}

// report counts the events that were committed, and warns of those that need
// attention.
func (s *Store) report(w *written, err error) error {
	if err != nil || w == nil {
		return err
	}
	for _, e := range w.events {
		if e.repeated {
			continue
		}
		s.tally.add(e)
		s.sessions.note(e)
		s.warn(e)
	}
	return nil
}

// warn logs at most one line, which contains ids and never a token.
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

// tally counts events by their outward name since the node started.
type tally struct {
	mu     sync.Mutex
	events map[string]float64
}

func (t *tally) add(e Event) {
	if eventNames[e.Type].countedAsEnd {
		return // session_ended counts for both
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.events == nil {
		t.events = map[string]float64{}
	}
	t.events[e.Outward()]++
}

// EventCounts returns how many events of each outward name this Store has
// committed. Every name is present from the start, so that its first event
// shows as an increase.
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
