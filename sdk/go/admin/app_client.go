package admin

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"time"
)

// AppClient is a client of a tenant: an app, or an API. fmt prints only its id.
type AppClient struct {
	ID       string
	Settings Settings // as they were written, without secrets
	Status   AppClientStatus
	ETag     string // for IfMatch; empty in lists

	// Secret is the secret that the server generated for a new client, if Put sent
	// none. It cannot be read again.
	Secret string
}

// String returns the id.
func (c AppClient) String() string { return "client " + c.ID }

// Format writes String, for any verb.
func (c AppClient) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue implements slog.LogValuer.
func (c AppClient) LogValue() slog.Value { return slog.StringValue(c.String()) }

// AppClientStatus is the state of a client apart from its settings.
type AppClientStatus struct {
	Enabled             bool            `json:"enabled"` // it is neither disabled nor suspended
	SuspendedAt         *time.Time      `json:"suspended_at,omitempty"`
	ManagedBy           string          `json:"managed_by,omitempty"` // "file": only the server's file can change its settings
	Secret              bool            `json:"secret"`               // it has a secret
	PreviousSecretUntil *time.Time      `json:"previous_secret_until,omitempty"`
	Effective           EffectivePolicy `json:"effective"` // the result of its preset and its settings
	CreatedAt           time.Time       `json:"created_at"`
	UpdatedAt           time.Time       `json:"updated_at"`
}

// EffectivePolicy is the result of a client's preset and its settings. Durations
// are as in a configuration file, such as "30d", or "none".
type EffectivePolicy struct {
	AccessTokenTTL    string `json:"access_token_ttl"`
	AbsoluteLifetime  string `json:"absolute_lifetime"`
	InactivityTimeout string `json:"inactivity_timeout"`
	RefreshGrace      string `json:"refresh_grace"`
	LateRetry         string `json:"late_retry"` // once or never
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *AppClient) UnmarshalJSON(text []byte) error {
	if err := decodeResource(text, &c.ID, &c.Settings, &c.Status); err != nil {
		return err
	}
	c.Secret, _ = c.Settings["secret"].(string)
	delete(c.Settings, "secret") // so that Put does not send it back
	return nil
}

// MarshalJSON implements json.Marshaler. It leaves out Secret.
func (c AppClient) MarshalJSON() ([]byte, error) { return encodeResource(c.ID, c.Settings, c.Status) }

// Clients are the clients of tenants.
type Clients struct{ c *connection }

// List returns the clients of a tenant.
func (c Clients) List(ctx context.Context, tenant string, q ListQuery) iter.Seq2[AppClient, error] {
	return allPages[AppClient](ctx, c.c, tenantPath(tenant, "clients"), q.values())
}

// Page returns one page of the clients of a tenant.
func (c Clients) Page(ctx context.Context, tenant string, q ListQuery) (*Page[AppClient], error) {
	return getPage[AppClient](ctx, c.c, tenantPath(tenant, "clients"), q.values())
}

// Get returns a client.
func (c Clients) Get(ctx context.Context, tenant, id string) (*AppClient, error) {
	return c.one(ctx, request{method: http.MethodGet, path: tenantPath(tenant, "clients", id), repeat: true}, nil)
}

// Put creates a client or replaces its settings. Settings that are left out get their
// defaults. A stored secret is kept, unless settings contain a new secret or nil. If a
// new client needs a secret and settings contain none, the server generates one:
// [AppClient].Secret. Such a request is not retried, because the response to a second
// request would not contain the secret.
func (c Clients) Put(ctx context.Context, tenant, id string, settings Settings, conditions ...Condition) (*AppClient, error) {
	r := changeRequest(http.MethodPut, tenantPath(tenant, "clients", id), conditions)
	r.repeat = r.repeat && (settings["auth"] == "none" || settings["secret"] != nil)
	return c.one(ctx, r, settings.body())
}

// Patch changes some settings of a client; nil restores a default (RFC 7396).
func (c Clients) Patch(ctx context.Context, tenant, id string, settings Settings, conditions ...Condition) (*AppClient, error) {
	return c.one(ctx, changeRequest(http.MethodPatch, tenantPath(tenant, "clients", id), conditions), settings.body())
}

// Delete removes a client and ends its sessions.
func (c Clients) Delete(ctx context.Context, tenant, id string, conditions ...Condition) error {
	_, err := c.c.call(ctx, changeRequest(http.MethodDelete, tenantPath(tenant, "clients", id), conditions), nil, nil)
	return err
}

func (c Clients) one(ctx context.Context, r request, body any) (*AppClient, error) {
	client := &AppClient{}
	header, err := c.c.call(ctx, r, body, client)
	if err != nil {
		return nil, err
	}
	client.ETag = header.Get("ETag")
	return client, nil
}

// NewSecret is the new secret of a client. It cannot be read again. fmt and log/slog
// do not print it.
type NewSecret struct {
	Secret              string     `json:"secret"`
	PreviousSecretUntil *time.Time `json:"previous_secret_until,omitempty"` // when the previous secret expires
}

// String hides the secret.
func (NewSecret) String() string { return "new client secret" }

// Format writes String, for any verb.
func (s NewSecret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// NewSecret generates a new secret for a client. previousUntil is when the previous
// secret expires: a time, or a duration such as "1d"; "0s" means at once, and the empty
// string means 7 days.
func (c Clients) NewSecret(ctx context.Context, tenant, id, previousUntil string) (*NewSecret, error) {
	var body struct {
		PreviousUntil string `json:"previous_until,omitempty"`
	}
	body.PreviousUntil = previousUntil
	made := &NewSecret{}
	_, err := c.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "clients", id, "secret")}, body, made)
	if err != nil {
		return nil, err
	}
	return made, nil
}
