package admin

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// EventDestination receives the events of a tenant.
type EventDestination struct {
	ID       string
	Settings Settings // as they were written, without secrets
	Status   EventDestinationStatus
	Secret   string // that the server has just generated; empty: it has not
	ETag     string // for IfMatch; empty in lists
}

// String returns the id.
func (d EventDestination) String() string { return "event destination " + d.ID }

// Format writes String, for any verb: the secret must not be in logs.
func (d EventDestination) Format(f fmt.State, _ rune) { io.WriteString(f, d.String()) }

// LogValue implements slog.LogValuer.
func (d EventDestination) LogValue() slog.Value { return slog.StringValue(d.String()) }

// EventDestinationStatus is the state of an event destination apart from its settings.
type EventDestinationStatus struct {
	State            string     `json:"state"`                      // active, failing, paused or disabled
	ManagedBy        string     `json:"managed_by,omitempty"`       // "file": only the server's file can change its settings
	Secret           bool       `json:"secret"`                     // it has a secret
	OldSecretUntil   *time.Time `json:"old_secret_until,omitempty"` // until when webhooks are also signed with the previous secret
	DeliveredThrough time.Time  `json:"delivered_through"`          // every event up to this time was accepted, waits, or was given up
	Waiting          int        `json:"waiting"`                    // events that failed and wait for another attempt; 10,001 means more than 10,000
	Dead             int        `json:"dead"`                       // events that were given up; 10,001 means more than 10,000
	FailingSince     *time.Time `json:"failing_since,omitempty"`    // since when every attempt has failed
	LastError        string     `json:"last_error,omitempty"`
	DisabledAt       *time.Time `json:"disabled_at,omitempty"` // when the receiver answered 410
	CreatedAt        time.Time  `json:"created_at"`
	UpdatedAt        time.Time  `json:"updated_at"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *EventDestination) UnmarshalJSON(text []byte) error {
	if err := decodeResource(text, &d.ID, &d.Settings, &d.Status); err != nil {
		return err
	}
	d.Secret, _ = d.Settings["secret"].(string)
	delete(d.Settings, "secret") // so that Put does not send it back
	return nil
}

// MarshalJSON implements json.Marshaler.
func (d EventDestination) MarshalJSON() ([]byte, error) {
	return encodeResource(d.ID, d.Settings, d.Status)
}

// EventDestinations are the event destinations of tenants.
type EventDestinations struct{ c *connection }

// List returns the event destinations of a tenant.
func (e EventDestinations) List(ctx context.Context, tenant string, q ListQuery) iter.Seq2[EventDestination, error] {
	return allPages[EventDestination](ctx, e.c, tenantPath(tenant, "event-destinations"), q.values())
}

// Page returns one page of the event destinations of a tenant.
func (e EventDestinations) Page(ctx context.Context, tenant string, q ListQuery) (*Page[EventDestination], error) {
	return getPage[EventDestination](ctx, e.c, tenantPath(tenant, "event-destinations"), q.values())
}

// Get returns an event destination.
func (e EventDestinations) Get(ctx context.Context, tenant, id string) (*EventDestination, error) {
	return e.one(ctx, request{method: http.MethodGet, path: tenantPath(tenant, "event-destinations", id), repeat: true}, nil)
}

// Put creates an event destination or replaces its settings. Settings that are left out
// get their defaults. A stored secret is kept if secret is left out; for a webhook that
// has none, the server generates one and returns it.
func (e EventDestinations) Put(ctx context.Context, tenant, id string, settings Settings, conditions ...Condition) (*EventDestination, error) {
	return e.one(ctx, changeRequest(http.MethodPut, tenantPath(tenant, "event-destinations", id), conditions), settings.body())
}

// Patch changes some settings of an event destination; nil restores a default (RFC
// 7396).
func (e EventDestinations) Patch(ctx context.Context, tenant, id string, settings Settings, conditions ...Condition) (*EventDestination, error) {
	return e.one(ctx, changeRequest(http.MethodPatch, tenantPath(tenant, "event-destinations", id), conditions), settings.body())
}

// Delete removes an event destination, with what waits for it.
func (e EventDestinations) Delete(ctx context.Context, tenant, id string, conditions ...Condition) error {
	_, err := e.c.call(ctx, changeRequest(http.MethodDelete, tenantPath(tenant, "event-destinations", id), conditions), nil, nil)
	return err
}

// NewSecret generates a new secret for a webhook. previousUntil is when the previous one
// expires: a time, or a duration such as 24h; empty: after a day.
func (e EventDestinations) NewSecret(ctx context.Context, tenant, id, previousUntil string) (*NewSecret, error) {
	body := map[string]string{}
	if previousUntil != "" {
		body["previous_until"] = previousUntil
	}
	secret := &NewSecret{}
	if _, err := e.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "event-destinations", id, "secret")}, body, secret); err != nil {
		return nil, err
	}
	return secret, nil
}

// Enable lets events be delivered again after the receiver has answered 410.
func (e EventDestinations) Enable(ctx context.Context, tenant, id string) (*EventDestination, error) {
	return e.one(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "event-destinations", id, "enable"), repeat: true}, nil)
}

// EventDelivery is an attempt to deliver an event, or an event that waits or was given up.
type EventDelivery struct {
	Event    string     `json:"event"` // the webhook-id or jti
	Type     string     `json:"type"`
	State    string     `json:"state"` // delivered or failed, of an attempt; waiting or dead
	At       time.Time  `json:"at"`
	Attempts int        `json:"attempts"` // the number of the attempt, or how many there were
	TookMS   int64      `json:"took_ms,omitempty"`
	Status   int        `json:"status,omitempty"` // the HTTP status of the answer
	Error    string     `json:"error,omitempty"`
	Answer   string     `json:"answer,omitempty"` // its first KiB, unless it came from a private address
	NextAt   *time.Time `json:"next_at,omitempty"`
}

// Test sends a test event now, and returns what came of it.
func (e EventDestinations) Test(ctx context.Context, tenant, id string) (*EventDelivery, error) {
	d := &EventDelivery{}
	if _, err := e.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "event-destinations", id, "test")}, nil, d); err != nil {
		return nil, err
	}
	return d, nil
}

// Deliveries returns the deliveries of an event destination. state is recent (the last 50
// attempts), waiting or dead.
func (e EventDestinations) Deliveries(ctx context.Context, tenant, id, state string) iter.Seq2[EventDelivery, error] {
	return allPages[EventDelivery](ctx, e.c, tenantPath(tenant, "event-destinations", id, "deliveries"), url.Values{"state": {state}})
}

// DeliveriesPage returns one page of Deliveries, by Limit and Cursor of q.
func (e EventDestinations) DeliveriesPage(ctx context.Context, tenant, id, state string, q ListQuery) (*Page[EventDelivery], error) {
	query := pageValues(q.Limit, q.Cursor)
	query.Set("state", state)
	return getPage[EventDelivery](ctx, e.c, tenantPath(tenant, "event-destinations", id, "deliveries"), query)
}

// RedeliverSince lets what happened since a time be delivered again.
func (e EventDestinations) RedeliverSince(ctx context.Context, tenant, id string, since time.Time) error {
	path := tenantPath(tenant, "event-destinations", id, "redeliver")
	_, err := e.c.call(ctx, request{method: http.MethodPost, path: path, query: url.Values{"since": {since.UTC().Format(time.RFC3339Nano)}}}, nil, nil)
	return err
}

// RedeliverDead lets the events that were given up be attempted again, and returns how
// many they are.
func (e EventDestinations) RedeliverDead(ctx context.Context, tenant, id string) (int64, error) {
	var done struct{ Dead int64 }
	_, err := e.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "event-destinations", id, "redeliver")}, nil, &done)
	return done.Dead, err
}

func (e EventDestinations) one(ctx context.Context, r request, body any) (*EventDestination, error) {
	d := &EventDestination{}
	header, err := e.c.call(ctx, r, body, d)
	if err != nil {
		return nil, err
	}
	d.ETag = header.Get("ETag")
	return d, nil
}
