package models

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"gorm.io/gorm"
)

// Actor identifies who makes a change.
type Actor struct {
	Name string // for people to read
	Role Role

	// Set for a request to the admin API.
	KeyID     string // of the admin key; empty for a command and for the file of serve
	IP        string
	RequestID string
}

// details returns the actor in the form that the details of events contain.
func (a Actor) details() map[string]any {
	details := map[string]any{"name": a.Name, "role": a.Role}
	if a.KeyID != "" {
		details["key"] = a.KeyID
	}
	return details
}

// actorKey is the key of an actor in a context.
type actorKey struct{}

// WithActor returns a context in which the events of sessions that end name the actor.
// Without an actor, the user, the client or the server itself ended the session, and the
// end reason distinguishes them.
func WithActor(ctx context.Context, by Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, by)
}

// nameActor adds the actor of the context to the details of an event.
func nameActor(ctx context.Context, details map[string]any) {
	if by, known := ctx.Value(actorKey{}).(Actor); known {
		details["actor"] = by.details()
	}
}

// ServerActor is the actor of changes that the server makes on its own.
var ServerActor = Actor{Name: "server", Role: RoleMachine}

// FileActor is the actor of changes that come from the file of serve.
var FileActor = Actor{Name: "file", Role: RoleMachine}

// kindAdminKey is the Kind of an admin key in a Change.
const kindAdminKey = "admin_key"

// AuditField is a changed field in the details of an event. From and To are absent
// for a secret and for an attribute of a user.
type AuditField struct {
	Name string          `json:"name"`
	From json.RawMessage `json:"from,omitempty"`
	To   json.RawMessage `json:"to,omitempty"`
}

// audit writes the event of a change, in the transaction that makes the change.
func (s *Store) audit(tx *gorm.DB, by Actor, c Change) error {
	change := "changed"
	switch {
	case c.Act != "":
		change = c.Act
	case c.Created:
		change = "created"
	case c.Removed:
		change = "removed"
	}
	e := Event{At: s.Now(), TenantID: c.Tenant, Type: EventConfigChanged, Details: map[string]any{"change": change, "kind": c.Kind, "actor": by.details()}}
	if by.IP != "" {
		e.Details["ip"] = by.IP
	}
	if by.RequestID != "" {
		e.Details["request"] = by.RequestID
	}
	if c.Reason != "" {
		e.Details["why"] = c.Reason
	}
	personal := false
	switch c.Kind {
	case KindUser:
		// Deleting the user rewrites only this column, so the details must not
		// name the user.
		e.Subject, personal = c.ID, true
	case KindClient:
		e.ClientID = c.ID
	}
	if !personal {
		e.Details["id"] = c.ID
	}
	if fields := auditFields(c.Fields, personal); len(fields) > 0 {
		e.Details["fields"] = fields
	}
	return insertEvent(tx, e)
}

// AddAudit writes the event of an action that changes nothing, such as an export.
func (s *Store) AddAudit(ctx context.Context, what EventType, tenant string, by Actor, details map[string]any) error {
	return s.AddEvent(ctx, s.auditEvent(what, tenant, by, details))
}

func (s *Store) auditEvent(what EventType, tenant string, by Actor, details map[string]any) Event {
	all := map[string]any{"actor": by.details()}
	if by.IP != "" {
		all["ip"] = by.IP
	}
	if by.RequestID != "" {
		all["request"] = by.RequestID
	}
	maps.Copy(all, details)
	return Event{At: s.Now(), TenantID: tenant, Type: what, Details: all}
}

// auditFields converts changes to the form of an event, without the values of a
// user's attributes.
func auditFields(changes []FieldChange, personal bool) []AuditField {
	fields := make([]AuditField, len(changes))
	for i, f := range changes {
		fields[i] = AuditField{Name: f.Name}
		if personal && strings.HasPrefix(f.Name, "attributes") {
			continue
		}
		fields[i].From, fields[i].To = rawJSON(f.From), rawJSON(f.To)
	}
	return fields
}

func rawJSON(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// jsonText returns a value in the form of FieldChange: as JSON, and null as the
// empty string.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil || string(text) == "null" {
		return ""
	}
	return string(text)
}

// timeText is jsonText for a Time.
func timeText(t Time) string {
	if t.IsZero() {
		return ""
	}
	return jsonText(t.Time)
}
