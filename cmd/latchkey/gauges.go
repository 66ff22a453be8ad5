package main

import (
	"database/sql"

	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/oauth"
)

// poolGauges report on the connections to the database.
func poolGauges(pool func() sql.DBStats) []handlers.Gauge {
	gauge := func(name, help string, rises bool, of func(sql.DBStats) float64) handlers.Gauge {
		return handlers.Gauge{Name: name, Help: help, Rises: rises, Value: func() float64 { return of(pool()) }}
	}
	return []handlers.Gauge{
		gauge("latchkey_database_connections_max", "Connections to the database that this node may open.", false,
			func(s sql.DBStats) float64 { return float64(s.MaxOpenConnections) }),
		gauge("latchkey_database_connections_in_use", "Connections to the database that requests use at the moment.", false,
			func(s sql.DBStats) float64 { return float64(s.InUse) }),
		gauge("latchkey_database_connections_idle", "Open connections to the database that nobody uses at the moment.", false,
			func(s sql.DBStats) float64 { return float64(s.Idle) }),
		gauge("latchkey_database_connection_waits_total", "How often something waited for a connection to the database.", true,
			func(s sql.DBStats) float64 { return float64(s.WaitCount) }),
		gauge("latchkey_database_connection_wait_seconds_total", "How long all of them waited together.", true,
			func(s sql.DBStats) float64 { return s.WaitDuration.Seconds() }),
	}
}

// issuerFamilies report on the keys of trusted issuers.
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
		family("latchkey_issuer_key_fetches_total", "Fetches of a trusted issuer's keys that succeeded.", true,
			func(f oauth.IssuerFetches) (float64, bool) { return float64(f.Good), true }),
		family("latchkey_issuer_key_fetch_failures_total", "Fetches of a trusted issuer's keys that failed.", true,
			func(f oauth.IssuerFetches) (float64, bool) { return float64(f.Failed), true }),
		family("latchkey_issuer_keys_age_seconds", "How long ago the keys of a trusted issuer were last fetched.", false,
			func(f oauth.IssuerFetches) (float64, bool) { return f.Age.Seconds(), f.Age >= 0 }),
	}
}
