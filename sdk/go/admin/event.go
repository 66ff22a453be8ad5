package admin

import (
	"context"
	"iter"
	"net/url"
	"strings"
	"time"
)

// Event is a recorded event.
type Event struct {
	ID      string         `json:"id,omitempty"`
	At      time.Time      `json:"at"`
	Type    string         `json:"type"`           // see docs/errors.md
	User    string         `json:"user,omitempty"` // the user's sub, or the pseudonym of a deleted user
	Client  string         `json:"client,omitempty"`
	Issuer  string         `json:"issuer,omitempty"` // id of a trusted issuer
	Session string         `json:"session,omitempty"`
	Details map[string]any `json:"details,omitempty"` // depends on the type
}

// EventQuery selects events. The zero value selects all.
type EventQuery struct {
	Types         []string // a type that ends in a dot selects every type that begins with it
	User, Client  string
	Session       string
	After, Before time.Time

	Limit  int    // events on a page, at most 500; default 50
	Cursor string // NextCursor of the previous page
}

func (q EventQuery) values() url.Values {
	v := pageValues(q.Limit, q.Cursor)
	setParam(v, "type", strings.Join(q.Types, ","))
	setParam(v, "user", q.User)
	setParam(v, "client", q.Client)
	setParam(v, "session", q.Session)
	setTimeParam(v, "after", q.After)
	setTimeParam(v, "before", q.Before)
	return v
}

// Events are the events of tenants. With an empty tenant, List and Page return the
// events that belong to no tenant, such as those of admin keys.
type Events struct{ c *connection }

// List returns the events of a tenant, the newest first.
func (e Events) List(ctx context.Context, tenant string, q EventQuery) iter.Seq2[Event, error] {
	return allPages[Event](ctx, e.c, eventsPath(tenant), q.values())
}

// Page returns one page of the events of a tenant.
func (e Events) Page(ctx context.Context, tenant string, q EventQuery) (*Page[Event], error) {
	return getPage[Event](ctx, e.c, eventsPath(tenant), q.values())
}

func eventsPath(tenant string) []string {
	if tenant == "" {
		return []string{"events"}
	}
	return tenantPath(tenant, "events")
}
