package handlers

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestFamiliesAreReadAtEachScrape(t *testing.T) {
	events, sessions := map[string]float64{"session.created": 0, "config.changed": 3}, map[string]float64{}
	m := NewMetrics()
	m.Add(
		Family{Name: "latchkey_events_total", Help: "Events.", Label: "type", Rises: true, Values: func() map[string]float64 { return events }},
		Family{Name: "latchkey_sessions", Help: "Sessions.", Label: "tenant", Values: func() map[string]float64 { return sessions }},
	)
	scrape := func() string {
		answer := httptest.NewRecorder()
		m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		if answer.Code != 200 {
			t.Fatalf("%d: %s", answer.Code, answer.Body)
		}
		return answer.Body.String()
	}
	if body := scrape(); strings.Contains(body, "latchkey_sessions{") {
		t.Errorf("/metrics contains sessions that were not counted:\n%s", body)
	}
	events["session.created"], sessions["default"] = 2, 17
	body := scrape()
	for _, line := range []string{
		"# TYPE latchkey_events_total counter", `latchkey_events_total{type="session.created"} 2`, `latchkey_events_total{type="config.changed"} 3`,
		"# TYPE latchkey_sessions gauge", `latchkey_sessions{tenant="default"} 17`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("/metrics does not contain %s:\n%s", line, body)
		}
	}
}
