package admin

import (
	"context"
	"maps"
	"time"

	"github.com/latchkey/latchkey/models"
)

// Event is an event as the API returns it.
type Event struct {
	ID      string         `json:"id,omitempty" doc:"The id. Events are ordered by id. Send it as Last-Event-ID to follow the events after it"`
	At      time.Time      `json:"at" doc:"When it happened"`
	Type    string         `json:"type" doc:"The outward type, or the stored type if it has no outward type: see docs/errors.md"`
	User    string         `json:"user,omitempty" doc:"The user's sub, or the pseudonym of a deleted user"`
	Client  string         `json:"client,omitempty" doc:"The client_id"`
	Issuer  string         `json:"issuer,omitempty" doc:"The id of a trusted issuer"`
	Session string         `json:"session,omitempty" doc:"The id of a session"`
	Details map[string]any `json:"details,omitempty" doc:"Depends on the type. For the role viewer, without the values of a change"`
}

func (c *Caller) newEvent(e models.ListedEvent, issuers map[string]string) Event {
	out := Event{At: e.At.UTC(), Type: e.Outward(), User: e.Subject, Client: e.ClientID, Issuer: issuers[e.IssuerID], Details: e.Details}
	if e.ID != (models.EventID{}) {
		out.ID = e.ID.String()
	}
	if e.SessionID != nil {
		out.Session = e.SessionID.String()
	}
	if !c.seesAttributes() && e.Type == models.EventConfigChanged {
		out.Details = withoutValues(e.Details)
	}
	return out
}

// withoutValues returns the details with the names of changed fields, but without their
// values.
func withoutValues(details map[string]any) map[string]any {
	kept := maps.Clone(details)
	fields, _ := details["fields"].([]any)
	names := []any{}
	for _, f := range fields {
		if f, ok := f.(map[string]any); ok {
			names = append(names, map[string]any{"name": f["name"]})
		}
	}
	if len(names) > 0 {
		kept["fields"] = names
	}
	return kept
}

// EventSearch selects the events that Events returns. Empty fields do not filter.
type EventSearch struct {
	Types         []string
	User, Client  string
	Session       string
	After, Before time.Time
	Cursor        string
	Limit         int
}

func (q EventSearch) filter(tenant string) (models.EventFilter, error) {
	f := models.EventFilter{Tenant: tenant, Types: q.Types, User: q.User, Client: q.Client, After: q.After, Before: q.Before, Limit: q.Limit}
	if q.Session != "" {
		id, err := models.ParseSessionID(q.Session)
		if err != nil {
			return f, invalidParameter("session", "is not the id of a session")
		}
		f.Session = &id
	}
	if q.Cursor != "" {
		id, err := models.ParseEventID(q.Cursor)
		if err != nil {
			return f, invalidParameter("cursor", "is not a cursor of this list: send next_cursor of the previous page, or leave it out")
		}
		f.Older = id
	}
	return f, nil
}

// Events returns a page of the events of a tenant, the newest first. If tenant is
// empty, it returns the events that belong to no tenant, such as those of admin keys.
func (s *Service) Events(ctx context.Context, c *Caller, tenant string, q EventSearch) (*List[Event], error) {
	issuers, err := s.beforeEvents(ctx, c, tenant)
	if err != nil {
		return nil, err
	}
	f, err := q.filter(tenant)
	if err != nil {
		return nil, err
	}
	events, next, err := s.Store.ListEvents(ctx, f)
	if err != nil {
		return nil, err
	}
	list := &List[Event]{Items: make([]Event, len(events))}
	for i, e := range events {
		list.Items[i] = c.newEvent(e, issuers)
	}
	if next != (models.EventID{}) {
		list.NextCursor = next.String()
	}
	return list, nil
}

func (s *Service) beforeEvents(ctx context.Context, c *Caller, tenant string) (issuers map[string]string, err error) {
	if tenant == "" {
		return nil, c.may(owners, "")
	}
	if err := c.may(readers, tenant); err != nil {
		return nil, err
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return nil, err
	}
	return s.issuerIDs(ctx, tenant)
}
