package delivery

import (
	"reflect"
	"testing"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func TestTheSubjectOfASecurityEvent(t *testing.T) {
	const issuer = "https://id.example.com/t/acme"
	sid := models.SessionID{1}
	opaque := func(id string) map[string]any { return map[string]any{"format": "opaque", "id": id} }
	user := map[string]any{"format": "iss_sub", "iss": issuer, "sub": "alice"}
	for name, c := range map[string]struct {
		format string // of the destination
		event  models.Event
		want   map[string]any
	}{
		"a session of a user": {"", models.Event{SessionID: &sid, Subject: "alice", ClientID: "web"},
			map[string]any{"format": "complex", "tenant": opaque("acme"), "session": opaque(sid.String()), "user": user}},
		"a session whose user is not known": {"", models.Event{SessionID: &sid, ClientID: "web"},
			map[string]any{"format": "complex", "tenant": opaque("acme"), "session": opaque(sid.String())}},
		"the same for a receiver of users": {settings.SubjectIssSub, models.Event{SessionID: &sid},
			map[string]any{"format": "complex", "tenant": opaque("acme"), "session": opaque(sid.String())}},
		"every session of a user": {"", models.Event{Subject: "alice"},
			map[string]any{"format": "complex", "tenant": opaque("acme"), "user": user}},
		"a user for a receiver of users": {settings.SubjectIssSub, models.Event{SessionID: &sid, Subject: "alice"}, user},
		"every session of a client": {"", models.Event{ClientID: "web"},
			map[string]any{"format": "complex", "tenant": opaque("acme"), "application": opaque("web")}},
		"every session of a tenant": {settings.SubjectIssSub, models.Event{},
			map[string]any{"format": "complex", "tenant": opaque("acme")}},
	} {
		row := &models.Destination{Settings: settings.DestinationSettings{Subject: c.format}}
		c.event.TenantID = "acme"
		if got := subject(row, issuer, models.ListedEvent{Event: c.event}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
