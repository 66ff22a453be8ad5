package models

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"gorm.io/gorm"
)

// Actor is who makes a change.
type Actor struct {
	Name string // for people to read
	Role Role

	// Of a request to the admin API.
	KeyID     string // of the admin key; empty: a command or the file of serve
	IP        string
	RequestID string
}

// details returns the actor as the details of events have it.
func (a Actor) details() map[string]any {
	details := map[string]any{"name": a.Name, "role": a.Role}
	if a.KeyID != "" {
		details["key"] = a.KeyID
	}
	return details
}

// ServerActor is who makes the changes that the server makes by itself.
var ServerActor = Actor{Name: "server", Role: RoleMachine}

// FileActor is who makes the changes in the file of serve.
var FileActor = Actor{Name: "file", Role: RoleMachine}

// nounAdminKey is the noun of an admin key in a Change.
const nounAdminKey = "admin_key"

// AuditField is a changed field in the details of an event. Of a secret, and of an
// attribute of a user, From and To are absent.
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
	e := Event{At: s.Now(), TenantID: c.Tenant, Type: EventConfigChanged, Details: map[string]any{"change": change, "kind": c.Noun, "actor": by.details()}}
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
	switch c.Noun {
	case NounUser:
		// Deleting the user rewrites this column, and the details must not name
		// the user besides it.
		e.Subject, personal = c.ID, true
	case NounClient:
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

// AddAudit writes an event of what an actor did that changes nothing.
func (s *Store) AddAudit(ctx context.Context, what EventType, tenant string, by Actor, details map[string]any) error {
	all := map[string]any{"actor": by.details()}
	if by.IP != "" {
		all["ip"] = by.IP
	}
	if by.RequestID != "" {
		all["request"] = by.RequestID
	}
	maps.Copy(all, details)
	return s.AddEvent(ctx, Event{At: s.Now(), TenantID: tenant, Type: what, Details: all})
}

// auditFields leaves out the values of a user's attributes.
func auditFields(changes []FieldChange, personal bool) []AuditField {
	fields := make([]AuditField, len(changes))
	for i, f := range changes {
		fields[i] = AuditField{Name: f.Name}
		if personal && strings.HasPrefix(f.Name, "attributes") {
			continue
		}
		fields[i].From, fields[i].To = rawOrNil(f.From), rawOrNil(f.To)
	}
	return fields
}

func rawOrNil(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// jsonText returns a value as a FieldChange has it. Null, the absent value, is empty.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil || string(text) == "null" {
		return ""
	}
	return string(text)
}

// timeText is jsonText for a moment.
func timeText(t Time) string {
	if t.IsZero() {
		return ""
	}
	return jsonText(t.Time)
}
