package admin

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Stats are the statistics of tenants.
type Stats struct {
	Sessions map[string]int64 `json:"sessions" doc:"The number of sessions of each tenant. A session counts for up to 5 minutes after its end"`
	Clients  []ClientSessions `json:"clients" doc:"Sessions by client, the largest first, of at most 1,000 clients. Empty after an upgrade until the server has counted by client" nullable:"false"`
	Minutes  []Stat           `json:"minutes" doc:"By the minute, for the last hour" nullable:"false"`
	Days     []Stat           `json:"days" doc:"By the day (UTC), for the last 30 days" nullable:"false"`
}

// ClientSessions is how many sessions a client has.
type ClientSessions struct {
	Tenant   string `json:"tenant" doc:"The id of the tenant"`
	Client   string `json:"client" doc:"The client_id"`
	Sessions int64  `json:"sessions" doc:"How many sessions there are"`
}

// mostClients bounds the clients in a response.
const mostClients = 1000

// Stat counts something in a minute or a day.
type Stat struct {
	Tenant string    `json:"tenant" doc:"The id of the tenant"`
	Name   string    `json:"name" doc:"exchange.ok, exchange.refused.REASON, refresh.rotated, refresh.retried, refresh.retried_late or refresh.refused.REASON, where REASON is a latchkey_reason"`
	At     time.Time `json:"at" doc:"The beginning of the minute or the day"`
	N      int64     `json:"n" doc:"How often it happened"`
}

// Stats returns the statistics of the given tenants, or of all tenants of the caller's
// key if none is given.
func (s *Service) Stats(ctx context.Context, c *Caller, tenants []string) (*Stats, error) {
	if err := c.may(readers, ""); err != nil {
		return nil, err
	}
	for _, tenant := range tenants {
		if err := c.may(readers, tenant); err != nil {
			return nil, err
		}
		if err := s.tenantExists(ctx, tenant); err != nil {
			return nil, err
		}
	}
	only := c.Key.Tenants
	if len(tenants) > 0 {
		only = tenants
	}
	rows, err := s.Store.Stats(ctx, only)
	if err != nil {
		return nil, err
	}
	out := &Stats{Sessions: map[string]int64{}, Clients: []ClientSessions{}, Minutes: []Stat{}, Days: []Stat{}}
	for tenant, n := range s.Store.SessionCounts() {
		if only == nil || slices.Contains(only, tenant) {
			out.Sessions[tenant] = int64(n)
		}
	}
	for of, n := range s.Store.ClientSessionCounts() {
		if only == nil || slices.Contains(only, of.Tenant) {
			out.Clients = append(out.Clients, ClientSessions{of.Tenant, of.Client, int64(n)})
		}
	}
	slices.SortFunc(out.Clients, func(a, b ClientSessions) int {
		return cmp.Or(cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Client, b.Client))
	})
	out.Clients = out.Clients[:min(len(out.Clients), mostClients)]
	for _, r := range rows {
		stat := Stat{r.Tenant, r.Name, r.Start, r.N}
		if r.Day {
			out.Days = append(out.Days, stat)
		} else {
			out.Minutes = append(out.Minutes, stat)
		}
	}
	return out, nil
}
