package admin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// Destination is an event destination in a response.
type Destination struct {
	ID       string
	Settings settings.Document
	Secret   string // that the server has generated; empty: it has not
	Status   DestinationStatus
	Version  string
}

// DestinationStatus is the state of an event destination apart from its settings.
type DestinationStatus struct {
	State            string     `json:"state" enum:"active,failing,paused,disabled" doc:"failing: the last attempt failed; paused: by its settings; disabled: the receiver answered 410"`
	ManagedBy        *string    `json:"managed_by,omitempty" enum:"file" doc:"file: only the server's file can change its settings"`
	Secret           bool       `json:"secret" doc:"It has a secret"`
	OldSecretUntil   *time.Time `json:"old_secret_until,omitempty" doc:"Until when webhooks are also signed with the previous secret"`
	DeliveredThrough time.Time  `json:"delivered_through" doc:"Every event up to this time was accepted, waits for another attempt, or was given up"`
	Waiting          int        `json:"waiting" doc:"How many events failed and wait for another attempt; 10,001 means more than 10,000"`
	Dead             int        `json:"dead" doc:"How many events were given up; 10,001 means more than 10,000"`
	FailingSince     *time.Time `json:"failing_since,omitempty" doc:"Since when every attempt has failed"`
	LastError        string     `json:"last_error,omitempty" doc:"The error of the last attempt"`
	DisabledAt       *time.Time `json:"disabled_at,omitempty" doc:"When the receiver answered 410"`
	CreatedAt        time.Time  `json:"created_at" doc:"When it was created"`
	UpdatedAt        time.Time  `json:"updated_at" doc:"When it was last changed"`
}

// MarshalJSON implements json.Marshaler.
func (d Destination) MarshalJSON() ([]byte, error) {
	doc := d.Settings
	if d.Secret != "" {
		doc = doc.Merge(settings.Document{"secret": []byte(`"` + d.Secret + `"`)})
	}
	return resource(doc, d.ID, d.Status)
}

// Delivery is an attempt to deliver an event, or an event that waits or was given up.
type Delivery struct {
	Event    string     `json:"event" doc:"The id of the event: webhook-id, or jti"`
	Type     string     `json:"type" doc:"The outward type of the event"`
	State    string     `json:"state" enum:"delivered,failed,waiting,dead" doc:"delivered and failed: one attempt; waiting: there will be another; dead: given up"`
	At       time.Time  `json:"at" doc:"When the attempt began; of an event that waits or was given up: when the first one did"`
	Attempts int        `json:"attempts" doc:"The number of the attempt, or how many there were"`
	TookMS   int64      `json:"took_ms,omitempty" doc:"How long the attempt took, in milliseconds"`
	Status   int        `json:"status,omitempty" doc:"The HTTP status of the answer"`
	Error    string     `json:"error,omitempty" doc:"Why the attempt failed"`
	Answer   string     `json:"answer,omitempty" doc:"The first KiB of the answer, unless it came from a private address"`
	NextAt   *time.Time `json:"next_at,omitempty" doc:"When the next attempt is due"`
}

func (s *Service) newDestination(ctx context.Context, stored *models.StoredDestination) (Destination, error) {
	row := stored.Row
	key := models.DestinationKey{Tenant: row.TenantID, ID: row.ID}
	state, err := s.Store.DeliveryState(ctx, key)
	if err != nil {
		return Destination{}, err
	}
	waiting, dead, err := s.Store.CountDeliveries(ctx, key)
	status := DestinationStatus{
		State: "active", ManagedBy: managedBy(stored.Managed), Secret: row.SealedSecret != nil, DeliveredThrough: state.ToldTo.At().UTC(),
		Waiting: waiting, Dead: dead, LastError: state.LastError, DisabledAt: moment(row.DisabledAt),
		CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
	}
	if row.OldUntil.After(s.Store.Now()) {
		status.OldSecretUntil = moment(row.OldUntil)
	}
	if !state.FailingSince.IsZero() {
		since := state.FailingSince.UTC()
		status.State, status.FailingSince = "failing", &since
	}
	switch {
	case !row.DisabledAt.IsZero():
		status.State = "disabled"
	case row.Settings.Paused:
		status.State = "paused"
	}
	return Destination{ID: row.ID, Settings: stored.Settings, Status: status, Version: stored.Version()}, err
}

// Destinations returns a page of the event destinations of a tenant.
func (s *Service) Destinations(ctx context.Context, c *Caller, tenant string, p models.Page) (*List[Destination], error) {
	if err := c.may(readers, tenant); err != nil {
		return nil, err
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return nil, err
	}
	stored, more, err := s.Store.StoredDestinations(ctx, tenant, p)
	if err != nil {
		return nil, err
	}
	list, last := make([]Destination, 0, len(stored)), ""
	for i := range stored {
		d, err := s.newDestination(ctx, &stored[i])
		if errors.Is(err, models.ErrNotFound) { // it has just been removed
			continue
		}
		if err != nil {
			return nil, err
		}
		list, last = append(list, d), d.ID
	}
	return listOf(list, more, last), nil
}

// Destination returns one event destination.
func (s *Service) Destination(ctx context.Context, c *Caller, tenant, id string) (*Destination, error) {
	if err := c.may(readers, tenant); err != nil {
		return nil, err
	}
	stored, err := s.Store.StoredDestination(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	d, err := s.newDestination(ctx, stored)
	return &d, err
}

// destinationBody is an event destination in a request.
type destinationBody struct {
	settings.DestinationSpec `yaml:",inline"`
	Status                   any `yaml:"status"`
}

const destinationAt = "tenants[0].event_destinations[0]"

// PutDestination creates an event destination or replaces its settings. A stored secret
// is kept, unless the body contains a new secret or null. For a webhook that has no
// secret, it generates one and returns it.
func (s *Service) PutDestination(ctx context.Context, c *Caller, tenant, id string, body []byte, p Precondition) (d *Destination, created bool, err error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, false, err
	}
	created, secret, err := put(p, func() (version, spare string, err error) {
		stored, err := s.Store.StoredDestination(ctx, tenant, id)
		switch {
		case errors.Is(err, models.ErrNotFound):
			return "", newWebhookSecret(), nil
		case err != nil:
			return "", "", err
		case stored.Row.SealedSecret == nil:
			return stored.Version(), newWebhookSecret(), nil
		}
		return stored.Version(), "", nil
	}, func(spare string, check func(string) error) (bool, string, error) {
		return s.writeDestination(ctx, c, tenant, id, body, spare, check)
	})
	if err != nil {
		return nil, false, err
	}
	if d, err = s.Destination(ctx, c, tenant, id); err != nil {
		return nil, false, err
	}
	d.Secret = secret
	return d, created, err
}

// newWebhookSecret returns a secret of 256 random bits.
func newWebhookSecret() string {
	var key [32]byte
	rand.Read(key[:])
	return settings.WebhookSecretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// PatchDestination changes some settings of an event destination (RFC 7396).
func (s *Service) PatchDestination(ctx context.Context, c *Caller, tenant, id string, body []byte, p Precondition) (*Destination, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	err := patch(body, p, nil, func() (settings.Document, string, error) {
		stored, err := s.Store.StoredDestination(ctx, tenant, id)
		if err != nil {
			return nil, "", err
		}
		return stored.Settings, stored.Version(), nil
	}, func(merged []byte, check func(string) error) error {
		_, _, err := s.writeDestination(ctx, c, tenant, id, merged, "", check)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.Destination(ctx, c, tenant, id)
}

// writeDestination replaces the settings of a destination. If it is a webhook and the
// body contains no secret, it stores spare and returns it as used.
func (s *Service) writeDestination(ctx context.Context, c *Caller, tenant, id string, body []byte, spare string, check func(string) error) (created bool, used string, err error) {
	var b destinationBody
	if err := decodeBody(body, destinationAt, &b); err != nil {
		return false, "", err
	}
	if err := sameID("id", b.ID, id); err != nil {
		return false, "", err
	}
	if err := withoutFiles(destinationAt, b.Written, "secret_file"); err != nil {
		return false, "", err
	}
	stored, err := s.Store.StoredDestination(ctx, tenant, id)
	if err != nil && !errors.Is(err, models.ErrNotFound) {
		return false, "", err
	}
	before := settings.DestinationSettings{}
	if stored != nil {
		before = stored.Row.Settings
	}
	if err := c.maySendTo(b.DestinationSettings, before); err != nil {
		return false, "", err
	}
	if _, given := b.Written["secret"]; !given && b.Type == settings.DestinationWebhook && spare != "" {
		b.Secret, b.Written["secret"], used = spare, true, spare
	}
	b.ID = id
	wanted := settings.InTenant(tenant)
	wanted.EventDestinations = []settings.DestinationSpec{b.DestinationSpec}
	created, err = s.apply(ctx, c, destinationAt, wanted, models.ApplyOptions{Replace: true, KeepSecrets: true, Precondition: check})
	return created, used, err
}

// maySendTo returns an error if the caller may not let events be sent to private
// addresses, and would.
func (c *Caller) maySendTo(d, before settings.DestinationSettings) error {
	switch {
	case !d.AllowPrivateAddresses || c.Key.Role == models.RoleOwner:
		return nil
	case !before.AllowPrivateAddresses:
		return forbidden("only an owner's key may set allow_private_addresses")
	case before.URL != d.URL:
		return forbidden("only an owner's key may change the url of an event destination that has allow_private_addresses")
	}
	return nil
}

// DeleteDestination removes an event destination, with what waits for it.
func (s *Service) DeleteDestination(ctx context.Context, c *Caller, tenant, id string, p Precondition) error {
	if err := c.may(admins, tenant); err != nil {
		return err
	}
	return s.remove(ctx, c, []settings.TenantSpec{settings.InTenant(tenant)}, models.Ref{Kind: models.KindDestination, Tenant: tenant, ID: id}, p)
}

// NewDestinationSecret generates a new secret for a webhook.
func (s *Service) NewDestinationSecret(ctx context.Context, c *Caller, tenant, id string, body []byte) (*NewSecret, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	var b secretBody
	if len(body) > 0 {
		if err := decodeBody(body, "", &b); err != nil {
			return nil, err
		}
	}
	stored, err := s.Store.StoredDestination(ctx, tenant, id)
	switch {
	case err != nil:
		return nil, err
	case stored.Managed:
		return nil, conflict("managed_by_file", "The file of \"latchkey serve\" owns the event destination: change its secret in the file and restart a node")
	case stored.Row.Settings.Type != settings.DestinationWebhook:
		return nil, conflict("not_a_webhook", "Only webhooks have a secret that the server generates")
	}
	old := models.OldSecretFor
	if b.PreviousUntil != nil {
		old = b.PreviousUntil.From(s.Store.Now()).Sub(s.Store.Now())
	}
	secret := newWebhookSecret()
	if err := s.Store.ReplaceDestinationSecret(ctx, s.Keys, tenant, id, secret, old, c.Actor()); err != nil {
		return nil, err
	}
	if stored, err = s.Store.StoredDestination(ctx, tenant, id); err != nil {
		return nil, err
	}
	return &NewSecret{Secret: secret, PreviousSecretUntil: moment(stored.Row.OldUntil)}, nil
}

// EnableDestination lets events be sent again to a destination that was disabled.
func (s *Service) EnableDestination(ctx context.Context, c *Caller, tenant, id string) (*Destination, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	if err := s.Store.EnableDestination(ctx, tenant, id, c.Actor()); err != nil {
		return nil, err
	}
	return s.Destination(ctx, c, tenant, id)
}

// TestDestination sends a test event to a destination now, and returns what came of it.
func (s *Service) TestDestination(ctx context.Context, c *Caller, tenant, id string) (*Delivery, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	stored, err := s.Store.StoredDestination(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	if stored.Row.Settings.Type == settings.DestinationPoll {
		return nil, conflict("polled", "The receiver of set_poll calls the server: it can request a verification event itself")
	}
	d := newAttempt(s.OAuth.Deliverer().Test(ctx, &stored.Row))
	return &d, nil
}

func newAttempt(a models.Attempt) Delivery {
	d := Delivery{
		Event: a.Event.String(), Type: a.Type, At: a.At.UTC(), Attempts: a.Number, TookMS: a.Took.Milliseconds(),
		Status: a.Status, Error: a.Error, Answer: a.Answer, State: "failed",
	}
	if a.Error == "" {
		d.State = "delivered"
	}
	return d
}

// Deliveries returns the last attempts of a destination, the newest first, or the
// events that wait for another attempt, or those that were given up, the oldest first.
// state is one of recent, waiting and dead.
func (s *Service) Deliveries(ctx context.Context, c *Caller, tenant, id, state, cursor string, limit int) (*List[Delivery], error) {
	if err := c.may(readers, tenant); err != nil {
		return nil, err
	}
	stored, err := s.Store.StoredDestination(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	key := models.DestinationKey{Tenant: tenant, ID: stored.Row.ID}
	list := &List[Delivery]{Items: []Delivery{}}
	if state == "recent" {
		progress, err := s.Store.DeliveryState(ctx, key)
		if err != nil {
			return nil, err
		}
		for i := len(progress.Recent) - 1; i >= 0 && len(list.Items) < limit; i-- {
			list.Items = append(list.Items, newAttempt(progress.Recent[i]))
		}
		return list, nil
	}
	var after models.EventID
	if cursor != "" {
		if after, err = models.ParseEventID(cursor); err != nil {
			return nil, invalidParameter("cursor", "is not a cursor of this list: send next_cursor of the page before, or leave it out")
		}
	}
	rows, err := s.Store.Deliveries(ctx, key, state == "dead", after, limit+1)
	if err != nil {
		return nil, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		list.NextCursor = rows[limit-1].Event.String()
	}
	for _, row := range rows {
		d := Delivery{
			Event: row.Event.String(), Type: row.Type, State: state, At: row.FirstAt.UTC(), Attempts: row.Attempts,
			Status: row.Status, Error: row.Error, Answer: row.Answer,
		}
		if !row.NextAt.IsZero() {
			next := row.NextAt.UTC()
			d.NextAt = &next
		}
		if row.FirstAt.IsZero() {
			d.At = row.Event.At().UTC()
		}
		list.Items = append(list.Items, d)
	}
	return list, nil
}

// Redelivered is what redelivering lets happen.
type Redelivered struct {
	Since *time.Time `json:"since,omitempty" doc:"Events from this time on are delivered again"`
	Dead  *int64     `json:"dead,omitempty" doc:"How many events that had been given up are attempted again"`
}

// Redeliver lets a destination get the events since a time again or, if since is zero,
// those that were given up.
func (s *Service) Redeliver(ctx context.Context, c *Caller, tenant, id string, since time.Time) (*Redelivered, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	stored, err := s.Store.StoredDestination(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	key := models.DestinationKey{Tenant: tenant, ID: stored.Row.ID}
	if since.IsZero() {
		n, err := s.Store.RedeliverDead(ctx, key, c.Actor())
		return &Redelivered{Dead: &n}, err
	}
	if since.After(s.Store.Now()) {
		return nil, invalidParameter("since", "is in the future")
	}
	since = since.UTC()
	return &Redelivered{Since: &since}, s.Store.RedeliverSince(ctx, key, since, c.Actor())
}
