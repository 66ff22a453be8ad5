package admin

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Stats are numbers of tenants. Nodes write them every 10 seconds.
type Stats struct {
	Sessions map[string]int64 `json:"sessions"` // by tenant
	Minutes  []Stat           `json:"minutes"`  // of the last hour
	Days     []Stat           `json:"days"`     // of the last 30 days (UTC)
}

// Stat is how often something happened in a minute or a day.
type Stat struct {
	Tenant string    `json:"tenant"`
	Name   string    `json:"name"` // such as exchange.ok or refresh.refused.REASON
	At     time.Time `json:"at"`   // when the minute or the day begins
	N      int64     `json:"n"`
}

// Stats returns numbers of tenants; without one, of all tenants of the key.
func (c *Client) Stats(ctx context.Context, tenants ...string) (*Stats, error) {
	v := url.Values{}
	set(v, "tenant", strings.Join(tenants, ","))
	stats := &Stats{}
	if _, err := c.c.call(ctx, request{method: http.MethodGet, path: []string{"stats"}, query: v, repeat: true}, nil, stats); err != nil {
		return nil, err
	}
	return stats, nil
}
