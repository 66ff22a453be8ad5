package models_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

func TestEventsAreReadBackInOrder(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice(func(n *models.NewSession) { n.RecordCreation = map[string]any{"iss": "https://auth.example.com"} }))
		for i := range 120 {
			at := start.Add(time.Duration(i+1) * time.Microsecond)
			must(t, w.AddEvent(t.Context(), row.Event(at, models.EventClaimLeftOut, map[string]any{"claim": fmt.Sprint(i)})))
		}
		must(t, w.AddEvent(t.Context(), models.Event{At: start, TenantID: acme, Type: models.EventClientTokenReplayed, Subject: "alice"}))
		events, err := w.SessionEvents(t.Context(), acme, row.ID)
		must(t, err)
		if len(events) != 100 || events[99].Details["claim"] != "98" {
			t.Fatalf("%d events, the last %+v", len(events), events[len(events)-1])
		}
		want := models.Event{
			At: start, TenantID: acme, Type: models.EventSessionCreated, SessionID: &row.ID, ClientID: "web", IssuerID: w.issuer, Subject: "alice",
			Details: map[string]any{"iss": "https://auth.example.com"},
		}
		if !reflect.DeepEqual(events[0], want) {
			t.Errorf("the first event is %+v, want %+v", events[0], want)
		}
		if events, err := w.SessionEvents(t.Context(), "other", row.ID); len(events) != 0 || err != nil {
			t.Errorf("another tenant sees %d events, %v", len(events), err)
		}
		if n := w.number("SELECT count(*) FROM events WHERE session_id IS NULL AND type <> 'config_changed'"); n != 1 {
			t.Errorf("%d events are about no session, want 1", n)
		}
	})
}

// Two parties who share a stolen token retry each other's tokens inside the
// window.
func TestThreeGenerationsRetriedFromElsewhereRecordAnEvent(t *testing.T) {
	for name, c := range map[string]struct {
		retried []uint32
		want    string
	}{
		"one":                           {[]uint32{1}, "1"},
		"one many times":                {[]uint32{1, 1, 1, 1}, "1"},
		"two in a row":                  {[]uint32{1, 2}, "1 2"},
		"three in a row":                {[]uint32{1, 2, 3}, "1 2 3!"},
		"three in a row, each twice":    {[]uint32{1, 1, 2, 2, 3, 3}, "1 2 3!"},
		"four in a row":                 {[]uint32{1, 2, 3, 4}, "1 2 3! 4!"},
		"three with one in between":     {[]uint32{1, 2, 4}, "1 2 4"},
		"three after one in between":    {[]uint32{1, 3, 4, 5}, "1 3 4 5!"},
		"three across the first of all": {[]uint32{0, 1, 2}, "0 1 2!"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				row := w.create(w.alice())
				for _, generation := range c.retried {
					w.clock.Advance(time.Second)
					row.Refresh.Generation = generation
					must(t, w.NoteSharedRefresh(t.Context(), row, w.Now(), map[string]any{"generation": generation, "ip": "203.0.113.9"}))
				}
				events, err := w.SessionEvents(t.Context(), acme, row.ID)
				must(t, err)
				var got []string
				for _, e := range events[1:] {
					if text := fmt.Sprint(e.Details["generation"]); e.Type == models.EventRefreshElsewhere {
						got = append(got, text)
					}
				}
				text := strings.Join(got, " ")
				for _, e := range events {
					if g := fmt.Sprint(e.Details["generation"]); e.Type == models.EventRefreshShared {
						text = strings.Replace(text, g, g+"!", 1)
					}
				}
				if text != c.want {
					t.Errorf("events about %q, want %q", text, c.want)
				}
			})
		})
	}
}
