package admin

import (
	"context"
	"time"
)

// Node is a node of the deployment, as it last reported. Nodes report every 10 seconds.
type Node struct {
	ID        string    `json:"id"`      // random, new at each start of the node
	Name      string    `json:"name"`    // the node_name of its configuration, by default its host name
	Version   string    `json:"version"` // the release that it runs
	State     string    `json:"state"`   // ready, not_ready, or missing: it has not reported for 30 seconds
	Reason    string    `json:"reason"`  // why it was not ready when it last reported
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"` // when it last reported

	// LogAgeSeconds is how long before its last report the node had read the event
	// log; nil: never.
	LogAgeSeconds *float64 `json:"log_age_seconds"`
}

// Nodes returns the nodes that run, and those that disappeared in the last 5 minutes. The
// admin key must be valid for all tenants.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	page, err := getPage[Node](ctx, c.c, []string{"nodes"}, nil)
	if err != nil {
		return nil, err
	}
	return page.Items, nil
}
