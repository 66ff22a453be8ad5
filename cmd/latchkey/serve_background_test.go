package main

import (
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestMetricsHaveTheirOwnListener(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.SQLite(t))
	address := freeAddress(t)
	s := d.serve("LATCHKEY_METRICS_LISTEN=" + address)
	d.signIn(s, "alice")
	metrics := &server{process: s.process, url: "http://" + address}
	got := metrics.get("/metrics")
	for _, line := range []string{
		`latchkey_token_requests_total{grant="token-exchange",outcome="ok"} 1`,
		`latchkey_http_request_duration_seconds_count{method="POST",route="/token",status="200"} 1`,
		`latchkey_events_total{type="session.created"} 1`,
		`latchkey_events_total{type="session.ended.reuse_detected"} 0`,
		"latchkey_database_clock_offset_seconds 0",
		"\nlatchkey_revocation_streams 0\n",
	} {
		if !strings.Contains(got.body, line) {
			t.Errorf("/metrics does not contain %s:\n%s", line, tail(got.body))
		}
	}
	_, age, _ := strings.Cut(got.body, "\nlatchkey_event_log_age_seconds ")
	if seconds, err := strconv.ParseFloat(strings.SplitN(age, "\n", 2)[0], 64); err != nil || seconds < 0 || seconds > 60 {
		t.Errorf("the event log was read %v s ago, %v", seconds, err)
	}
	if got := s.get("/metrics"); got.status != 404 {
		t.Errorf("/metrics beside the endpoints: %d", got.status)
	}
	if got := metrics.get("/.well-known/jwks.json"); got.status != 404 {
		t.Errorf("endpoints beside /metrics: %d", got.status)
	}
}

// One of two nodes prunes expired rows, half a minute after its start.
func TestARunningServerPrunesExpiredRows(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newRaceDeployment(t, url)
	a, b := d.serve(), d.serve()
	d.signIn(a, "alice")
	statement(t, url, "UPDATE sessions SET ended_at = 1, end_reason = 'signed_out', prune_at = 1")
	statement(t, url, "UPDATE spent_tokens SET expires_at = 1")
	lives := d.signIn(b, "alice")
	statement(t, url, "UPDATE tenants SET forget_devices_at = 1")
	eventually(t, "expired rows are deleted", func() bool {
		return count(t, url, "SELECT count(*) FROM sessions") == 1 && count(t, url, "SELECT count(*) FROM spent_tokens") == 1
	})
	eventually(t, "device data is deleted", func() bool {
		return count(t, url, "SELECT count(*) FROM sessions WHERE user_agent <> '' OR ip <> ''") == 0
	})
	if seen := a.introspect(lives.text("access_token")); !seen.is(true) {
		t.Errorf("the live session: %d %s", seen.status, seen.body)
	}
	if holders := count(t, url, "SELECT count(*) FROM leases WHERE name = 'prune'"); holders != 1 {
		t.Errorf("%d leases are held", holders)
	}
}
