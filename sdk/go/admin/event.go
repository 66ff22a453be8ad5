package admin

import (
	"context"
	"iter"
	"net/url"
	"strings"
	"time"
)

// Event is something that happened.
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
	Types         []string // one that ends in a dot selects all that begin with it
	User, Client  string
	Session       string
	After, Before time.Time

	Limit  int    // events on a page, at most 500; default 50
	Cursor string // NextCursor of the page before
}

func (q EventQuery) values() url.Values {
	v := pageValues(q.Limit, q.Cursor)
	set(v, "type", strings.Join(q.Types, ","))
	set(v, "user", q.User)
	set(v, "client", q.Client)
	set(v, "session", q.Session)
	setTime(v, "after", q.After)
	setTime(v, "before", q.Before)
	return v
}

// Events are the events of tenants. With an empty tenant, List and Page return
// those of the whole deployment, such as those of admin keys.
type Events struct{ c *connection }

// List returns the events of a tenant, the newest first.
func (e Events) List(ctx context.Context, tenant string, q EventQuery) iter.Seq2[Event, error] {
	return all[Event](ctx, e.c, eventsPath(tenant), q.values())
}

// Page returns one page of the events of a tenant.
func (e Events) Page(ctx context.Context, tenant string, q EventQuery) (*Page[Event], error) {
	return list[Event](ctx, e.c, eventsPath(tenant), q.values())
}

func eventsPath(tenant string) []string {
	if tenant == "" {
		return []string{"events"}
	}
	return tenantPath(tenant, "events")
}
