package main

import (
	"database/sql"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/delivery"
)

func TestMetricsReportConnectionsAndIssuers(t *testing.T) {
	pool := func() sql.DBStats {
		return sql.DBStats{MaxOpenConnections: 16, InUse: 3, Idle: 2, WaitCount: 7, WaitDuration: 1500 * time.Millisecond}
	}
	issuers := func() []oauth.IssuerFetches {
		return []oauth.IssuerFetches{{Issuer: "https://a.example.com", Good: 4, Failed: 1, Age: 30 * time.Second}, {Issuer: "https://b.example.com", Failed: 9, Age: -1}}
	}
	w := httptest.NewRecorder()
	metrics := handlers.NewMetrics(poolGauges(pool)...)
	metrics.Add(issuerFamilies(issuers)...)
	metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, _ := io.ReadAll(w.Body)
	for _, line := range []string{
		"# TYPE latchkey_database_connections_in_use gauge", "latchkey_database_connections_max 16", "latchkey_database_connections_in_use 3", "latchkey_database_connections_idle 2",
		"# TYPE latchkey_database_connection_waits_total counter", "latchkey_database_connection_waits_total 7", "latchkey_database_connection_wait_seconds_total 1.5",
		"# TYPE latchkey_issuer_key_fetches_total counter", `latchkey_issuer_key_fetches_total{issuer="https://a.example.com"} 4`,
		`latchkey_issuer_key_fetch_failures_total{issuer="https://b.example.com"} 9`, `latchkey_issuer_keys_age_seconds{issuer="https://a.example.com"} 30`,
	} {
		if !strings.Contains(string(body), line+"\n") {
			t.Errorf("no line %q in\n%s", line, body)
		}
	}
	if strings.Contains(string(body), `keys_age_seconds{issuer="https://b`) {
		t.Error("missing keys have an age")
	}
}

func TestMetricsReportDeliveries(t *testing.T) {
	statuses := func() []delivery.Status {
		return []delivery.Status{{Waiting: 3, Lag: 90 * time.Second, Failing: true}, {Waiting: 1, Lag: time.Second}}
	}
	w := httptest.NewRecorder()
	metrics := handlers.NewMetrics(deliveryGauges(statuses)...)
	metrics.Add(deliveryFamily(func() delivery.Counts { return delivery.Counts{Delivered: 7, Failed: 2, Dead: 1} }))
	metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		"# TYPE latchkey_event_deliveries_total counter", `latchkey_event_deliveries_total{outcome="delivered"} 7`,
		`latchkey_event_deliveries_total{outcome="failed"} 2`, `latchkey_event_deliveries_total{outcome="dead"} 1`,
		"# TYPE latchkey_event_delivery_lag_seconds gauge", "latchkey_event_delivery_lag_seconds 90",
		"latchkey_event_destinations_failing 1", "latchkey_event_deliveries_waiting 4",
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, w.Body)
		}
	}
}
