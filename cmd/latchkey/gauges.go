package main

import (
	"database/sql"

	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/delivery"
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

// deliveryFamily returns the metric of what receivers do with events.
func deliveryFamily(counts func() delivery.Counts) handlers.Family {
	return handlers.Family{
		Name:  "latchkey_event_deliveries_total",
		Help:  "Events that receivers have accepted (delivered), failed attempts (failed), and events given up (dead), at this node.",
		Label: "outcome", Rises: true,
		Values: func() map[string]float64 {
			c := counts()
			return map[string]float64{"delivered": c.Delivered, "failed": c.Failed, "dead": c.Dead}
		},
	}
}

// deliveryGauges returns the metrics of the event destinations to which this node
// delivers. They are 0 at every other node.
func deliveryGauges(statuses func() []delivery.Status) []handlers.Gauge {
	gauge := func(name, help string, add func(sum float64, s delivery.Status) float64) handlers.Gauge {
		return handlers.Gauge{Name: name, Help: help, Value: func() (sum float64) {
			for _, s := range statuses() {
				sum = add(sum, s)
			}
			return sum
		}}
	}
	return []handlers.Gauge{
		gauge("latchkey_event_delivery_lag_seconds", "Age of the oldest event that an event destination has not accepted.",
			func(greatest float64, s delivery.Status) float64 { return max(greatest, s.Lag.Seconds()) }),
		gauge("latchkey_event_destinations_failing", "Event destinations whose last attempt failed.",
			func(sum float64, s delivery.Status) float64 {
				if s.Failing {
					sum++
				}
				return sum
			}),
		gauge("latchkey_event_deliveries_waiting", "Events that this node holds because no receiver has accepted them yet.",
			func(sum float64, s delivery.Status) float64 { return sum + float64(s.Waiting) }),
	}
}
