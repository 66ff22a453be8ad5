package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
)

// nodeMissing is how long ago a node that has not stopped may have reported: three
// times the interval of its reports.
const nodeMissing = 30 * time.Second

// States of a node.
const (
	NodeReady    = "ready"
	NodeNotReady = "not_ready"
	NodeMissing  = "missing"
)

// Node is a node of the deployment, as it last reported.
type Node struct {
	ID            string    `json:"id" doc:"Random, new at each start of the node"`
	Name          string    `json:"name" doc:"The node_name of its configuration, by default its host name"`
	Version       string    `json:"version" doc:"The release that it runs"`
	State         string    `json:"state" enum:"ready,not_ready,missing" doc:"missing: it has not reported for 30 seconds, and has not stopped either. It is listed until 5 minutes after its last report"`
	Reason        string    `json:"reason,omitempty" doc:"Why it was not ready when it last reported"`
	StartedAt     time.Time `json:"started_at" doc:"When it started"`
	SeenAt        time.Time `json:"seen_at" doc:"When it last reported"`
	LogAgeSeconds *float64  `json:"log_age_seconds,omitempty" doc:"How long before its last report it had read the event log, which it normally reads five times a second. By so much its revocations lag behind. Absent if it has never read the log"`
}

// Nodes is the list of nodes.
type Nodes struct {
	Items []Node `json:"items" nullable:"false" doc:"By name, at most 500"`
}

// SeesNodes reports whether the caller may list the nodes: they belong to no tenant, so
// a key that is limited to tenants may not.
func (c *Caller) SeesNodes() bool { return c.MayCall("list-nodes") && c.Key.Tenants == nil }

// Nodes returns the nodes that run, and those that have recently disappeared.
func (s *Service) Nodes(ctx context.Context, c *Caller) (*Nodes, error) {
	if err := c.may(readers, ""); err != nil {
		return nil, err
	}
	if !c.SeesNodes() {
		return nil, forbidden("a key that is limited to tenants does not see the nodes of the deployment")
	}
	rows, err := s.Store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	list := &Nodes{Items: make([]Node, len(rows))}
	now := s.Store.Now()
	for i, r := range rows {
		list.Items[i] = newNode(r, now)
	}
	slices.SortFunc(list.Items, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

func newNode(r models.Node, now time.Time) Node {
	n := Node{ID: r.ID, Name: r.Name, Version: r.Version, State: NodeReady, Reason: r.Reason, StartedAt: r.StartedAt.Time, SeenAt: r.SeenAt.Time}
	if !r.LogReadAt.IsZero() {
		age := max(0, r.SeenAt.Sub(r.LogReadAt.Time)).Seconds()
		n.LogAgeSeconds = &age
	}
	switch {
	case now.Sub(r.SeenAt.Time) > nodeMissing:
		n.State = NodeMissing
	case r.Reason != "":
		n.State = NodeNotReady
	}
	return n
}
