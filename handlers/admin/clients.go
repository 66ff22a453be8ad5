package admin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// Client is a client as the API returns it. In JSON, id and status are beside the
// settings.
type Client struct {
	ID       string
	Settings settings.Document // as they were written
	Status   ClientStatus
	Version  string // for If-Match
	Secret   string // a generated secret; only the response to its creation contains it
}

// ClientStatus is the state of a client apart from its settings.
type ClientStatus struct {
	Enabled             bool         `json:"enabled" doc:"It is neither disabled nor suspended"`
	SuspendedAt         *time.Time   `json:"suspended_at,omitempty" doc:"When it was suspended"`
	ManagedBy           *string      `json:"managed_by,omitempty" enum:"file" doc:"file: the server's file owns its settings, and only a change of the file changes them"`
	Secret              bool         `json:"secret" doc:"The client has a secret"`
	PreviousSecretUntil *time.Time   `json:"previous_secret_until,omitempty" doc:"When its previous secret expires"`
	Effective           ClientPolicy `json:"effective" doc:"The values that result from its preset and its settings"`
	CreatedAt           time.Time    `json:"created_at" doc:"When it was created"`
	UpdatedAt           time.Time    `json:"updated_at" doc:"When it was last changed"`
}

// ClientPolicy holds the values that result from a client's preset and settings.
type ClientPolicy struct {
	AccessTokenTTL    string `json:"access_token_ttl" doc:"How long an access token is valid"`
	AbsoluteLifetime  string `json:"absolute_lifetime" doc:"How long a session lasts"`
	InactivityTimeout string `json:"inactivity_timeout" doc:"How long a session lasts without a refresh, or none"`
	RefreshGrace      string `json:"refresh_grace" doc:"How long a used refresh token returns the same tokens again"`
	LateRetry         string `json:"late_retry" enum:"once,never" doc:"Whether a used refresh token may be accepted once after refresh_grace"`
}

// MarshalJSON implements json.Marshaler.
func (c Client) MarshalJSON() ([]byte, error) {
	doc := c.Settings
	if c.Secret != "" {
		text, err := json.Marshal(c.Secret)
		if err != nil {
			return nil, err
		}
		doc = maps.Clone(doc)
		doc["secret"] = text
	}
	return resource(doc, c.ID, c.Status)
}

func newClient(stored *models.StoredClient) Client {
	row, policy := stored.Row, stored.Row.Settings.Policy()
	status := ClientStatus{
		Enabled: row.Enabled(), SuspendedAt: moment(row.SuspendedAt), ManagedBy: managedBy(stored.Managed),
		Secret: row.SecretDigest.Digest != nil, PreviousSecretUntil: moment(row.PreviousUntil),
		CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
		Effective: ClientPolicy{
			AccessTokenTTL: settings.Duration(policy.AccessTTL).String(), AbsoluteLifetime: settings.Duration(policy.AbsoluteTimeout).String(),
			InactivityTimeout: settings.Duration(policy.IdleTimeout).String(), RefreshGrace: settings.Duration(policy.RefreshGrace).String(),
			LateRetry: settings.LateRetryNever,
		},
	}
	if policy.LateRetry {
		status.Effective.LateRetry = settings.LateRetryOnce
	}
	return Client{ID: row.ID, Settings: stored.Settings, Status: status, Version: stored.Version()}
}

// Clients returns a page of the clients of a tenant that are in a state; empty: in any
// state.
func (s *Service) Clients(ctx context.Context, c *Caller, tenant string, state models.ClientState, p models.Page) (*List[Client], error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	if state != "" && !slices.Contains(models.ClientStates, state) {
		return nil, invalidParameter("state", "must be enabled, disabled or suspended")
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return nil, err
	}
	stored, more, err := s.Store.StoredClients(ctx, tenant, state, p)
	if err != nil {
		return nil, err
	}
	list, last := make([]Client, len(stored)), ""
	for i := range stored {
		list[i], last = newClient(&stored[i]), stored[i].Row.ID
	}
	return listOf(list, more, last), nil
}

// Client returns one client.
func (s *Service) Client(ctx context.Context, c *Caller, tenant, id string) (*Client, error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	stored, err := s.Store.StoredClient(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	client := newClient(stored)
	return &client, nil
}

// clientBody is a client in a request. A status that is sent back is ignored.
type clientBody struct {
	settings.ClientSpec `yaml:",inline"`
	Status              any `yaml:"status"`
}

const clientAt = "tenants[0].clients[0]"

// PutClient creates a client or replaces its settings. A stored secret is kept, unless
// the body contains a new secret or null. For a new client with auth: secret whose body
// contains no secret, it generates one and returns it.
func (s *Service) PutClient(ctx context.Context, c *Caller, tenant, id string, body []byte, p Precondition) (client *Client, created bool, err error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, false, err
	}
	created, secret, err := put(p, func() (version, spare string, err error) {
		stored, err := s.Store.StoredClient(ctx, tenant, id)
		switch {
		case errors.Is(err, models.ErrNotFound):
			return "", oauth.NewClientSecret(), nil
		case err != nil:
			return "", "", err
		}
		return stored.Version(), "", nil
	}, func(spare string, check func(string) error) (bool, string, error) {
		return s.writeClient(ctx, c, tenant, id, body, spare, check)
	})
	if err != nil {
		return nil, false, err
	}
	if client, err = s.Client(ctx, c, tenant, id); err != nil {
		return nil, false, err
	}
	client.Secret = secret
	return client, created, err
}

// PatchClient changes some settings of a client (RFC 7396). A change of the preset
// resets the settings that the preset determines, as in a file.
func (s *Service) PatchClient(ctx context.Context, c *Caller, tenant, id string, body []byte, p Precondition) (*Client, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	err := patch(body, p, map[string][]string{"preset": models.PresetKeys}, func() (settings.Document, string, error) {
		stored, err := s.Store.StoredClient(ctx, tenant, id)
		if err != nil {
			return nil, "", err
		}
		return stored.Settings, stored.Version(), nil
	}, func(merged []byte, check func(string) error) error {
		_, _, err := s.writeClient(ctx, c, tenant, id, merged, "", check)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.Client(ctx, c, tenant, id)
}

// writeClient replaces the settings of a client. If the client needs a secret and the
// body contains none, it stores spare and returns it as used.
func (s *Service) writeClient(ctx context.Context, c *Caller, tenant, id string, body []byte, spare string, check func(string) error) (created bool, used string, err error) {
	var b clientBody
	if err := decodeBody(body, clientAt, &b); err != nil {
		return false, "", err
	}
	if err := sameID("id", b.ID, id); err != nil {
		return false, "", err
	}
	if err := withoutFiles(clientAt, b.Written, "secret_file"); err != nil {
		return false, "", err
	}
	if _, given := b.Written["secret"]; !given && b.Auth == settings.AuthSecret && spare != "" {
		b.Secret, b.Written["secret"], used = spare, true, spare
	}
	b.ID = id
	wanted := settings.InTenant(tenant)
	wanted.Clients = []settings.ClientSpec{b.ClientSpec}
	created, err = s.apply(ctx, c, clientAt, wanted, models.ApplyOptions{Replace: true, KeepSecrets: true, Precondition: check})
	return created, used, err
}

// DeleteClient removes a client and ends its sessions.
func (s *Service) DeleteClient(ctx context.Context, c *Caller, tenant, id string, p Precondition) error {
	if err := c.may(admins, tenant); err != nil {
		return err
	}
	return s.remove(ctx, c, []settings.TenantSpec{settings.InTenant(tenant)}, models.Ref{Kind: models.KindClient, Tenant: tenant, ID: id}, p)
}

// NewSecret is a generated secret of a client.
type NewSecret struct {
	Secret              string     `json:"secret" doc:"The new secret. It is not stored and cannot be shown again"`
	PreviousSecretUntil *time.Time `json:"previous_secret_until,omitempty" doc:"When the previous secret expires"`
}

// secretBody is the body of a request for a new secret.
type secretBody struct {
	PreviousUntil *settings.Until `yaml:"previous_until"`

	settings.Place
}

// NewClientSecret generates a new secret for a client. The previous secret expires at
// previous_until, which is a time or a duration from now (default 7d; 0s: at once).
func (s *Service) NewClientSecret(ctx context.Context, c *Caller, tenant, id string, body []byte) (*NewSecret, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	var b secretBody
	if len(body) > 0 {
		if err := decodeBody(body, "", &b); err != nil {
			return nil, err
		}
	}
	stored, err := s.Store.StoredClient(ctx, tenant, id)
	switch {
	case err != nil:
		return nil, err
	case stored.Managed:
		return nil, conflict("managed_by_file", "The file of \"latchkey serve\" owns the client: change its secret in the file and restart a node")
	case stored.Row.Settings.Public():
		return nil, conflict("public_client", "The client is public (auth: none) and has no secret; set auth to secret first")
	}
	secret := oauth.NewClientSecret()
	if err := s.Store.ReplaceClientSecret(ctx, s.Keys, tenant, id, secret, b.PreviousUntil, c.Actor()); err != nil {
		return nil, err
	}
	if stored, err = s.Store.StoredClient(ctx, tenant, id); err != nil {
		return nil, err
	}
	return &NewSecret{Secret: secret, PreviousSecretUntil: moment(stored.Row.PreviousUntil)}, nil
}
