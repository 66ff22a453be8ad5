package admin

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Stats are the statistics of tenants. Each node writes its counts every 10 seconds.
type Stats struct {
	Sessions map[string]int64 `json:"sessions"` // the number of sessions of each tenant
	Clients  []ClientSessions `json:"clients"`  // the largest first, at most 1,000
	Minutes  []Stat           `json:"minutes"`  // by the minute, for the last hour
	Days     []Stat           `json:"days"`     // by the day (UTC), for the last 30 days
}

// ClientSessions is the number of sessions of a client.
type ClientSessions struct {
	Tenant   string `json:"tenant"`
	Client   string `json:"client"`
	Sessions int64  `json:"sessions"`
}

// Stat counts something in a minute or a day.
type Stat struct {
	Tenant string    `json:"tenant"`
	Name   string    `json:"name"` // such as exchange.ok or refresh.refused.REASON
	At     time.Time `json:"at"`   // the beginning of the minute or the day
	N      int64     `json:"n"`    // how often it happened
}

// Stats returns the statistics of the given tenants, or of all tenants of the key if none
// is given.
func (c *Client) Stats(ctx context.Context, tenants ...string) (*Stats, error) {
	v := url.Values{}
	setParam(v, "tenant", strings.Join(tenants, ","))
	stats := &Stats{}
	if _, err := c.c.call(ctx, request{method: http.MethodGet, path: []string{"stats"}, query: v, repeat: true}, nil, stats); err != nil {
		return nil, err
	}
	return stats, nil
}
