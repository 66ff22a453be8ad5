package delivery

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/latchkey/latchkey/models"
)

// message is the body of a webhook.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

// data is about one event. Empty members are absent.
type data struct {
	ID       string `json:"id"`
	Tenant   string `json:"tenant"`
	Sequence int64  `json:"sequence"` // rises from event to event of a session

	// What the event is about. One that ends sessions and names none ends all of the
	// user, client or trusted issuer that it names, or of the whole tenant.
	Session string `json:"session,omitempty"`
	User    string `json:"user,omitempty"`
	Client  string `json:"client,omitempty"`
	Issuer  string `json:"issuer,omitempty"` // id of a trusted issuer

	Details map[string]any `json:"details,omitempty"`
}

// internalDetails are details that mean something only inside of the server.
var internalDetails = []string{"jti_digest", "jti", "before", "audience", "destination"}

// newMessage returns the message about an event. issuer is the id of its trusted
// issuer; empty: none.
func newMessage(e models.ListedEvent, issuer string) message {
	details := maps.Clone(e.Details)
	for _, name := range internalDetails {
		delete(details, name)
	}
	d := data{
		ID: e.ID.String(), Tenant: e.TenantID, Sequence: Sequence(e.ID),
		User: e.Subject, Client: e.ClientID, Issuer: issuer, Details: details,
	}
	if e.SessionID != nil {
		d.Session = e.SessionID.String()
	}
	return message{Type: e.Delivered(), Timestamp: e.At.UTC(), Data: d}
}

// Sequence returns the number by which a receiver orders the events of a session: the
// moment in microseconds. It fits a JSON number that is read as a float64.
func Sequence(id models.EventID) int64 { return id.At().UnixMicro() }

func (m message) body() ([]byte, error) { return json.Marshal(m) }
