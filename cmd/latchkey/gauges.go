package main

import (
	"database/sql"

	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/oauth"
)

// poolGauges returns the metrics of the database connections.
func poolGauges(pool func() sql.DBStats) []handlers.Gauge {
	gauge := func(name, help string, rises bool, of func(sql.DBStats) float64) handlers.Gauge {
		return handlers.Gauge{Name: name, Help: help, Rises: rises, Value: func() float64 { return of(pool()) }}
	}
	return []handlers.Gauge{
		gauge("latchkey_database_connections_max", "Database connections that this node may open.", false,
			func(s sql.DBStats) float64 { return float64(s.MaxOpenConnections) }),
		gauge("latchkey_database_connections_in_use", "Database connections in use.", false,
			func(s sql.DBStats) float64 { return float64(s.InUse) }),
		gauge("latchkey_database_connections_idle", "Open database connections that are idle.", false,
			func(s sql.DBStats) float64 { return float64(s.Idle) }),
		gauge("latchkey_database_connection_waits_total", "How often this node waited for a database connection.", true,
			func(s sql.DBStats) float64 { return float64(s.WaitCount) }),
		gauge("latchkey_database_connection_wait_seconds_total", "Total time that this node waited for a database connection.", true,
			func(s sql.DBStats) float64 { return s.WaitDuration.Seconds() }),
	}
}

// issuerFamilies returns the metrics of the trusted issuers' keys.
func issuerFamilies(fetches func() []oauth.IssuerFetches) []handlers.Family {
	family := func(name, help string, rises bool, of func(oauth.IssuerFetches) (float64, bool)) handlers.Family {
		return handlers.Family{Name: name, Help: help, Rises: rises, Label: "issuer", Values: func() map[string]float64 {
			values := map[string]float64{}
			for _, f := range fetches() {
				if value, known := of(f); known {
					values[f.Issuer] = value
				}
			}
			return values
		}}
	}
	return []handlers.Family{
		family("latchkey_issuer_key_fetches_total", "Successful fetches of a trusted issuer's keys.", true,
			func(f oauth.IssuerFetches) (float64, bool) { return float64(f.Good), true }),
		family("latchkey_issuer_key_fetch_failures_total", "Failed fetches of a trusted issuer's keys.", true,
			func(f oauth.IssuerFetches) (float64, bool) { return float64(f.Failed), true }),
		family("latchkey_issuer_keys_age_seconds", "How long ago this node last fetched the keys of a trusted issuer.", false,
			func(f oauth.IssuerFetches) (float64, bool) { return f.Age.Seconds(), f.Age >= 0 }),
	}
}
