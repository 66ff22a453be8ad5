package admin

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Tenant is a tenant, without the objects in it.
type Tenant struct {
	ID       string
	Settings Settings // as they were written
	Status   TenantStatus
	ETag     string // for IfMatch; empty in lists
}

// TenantStatus is the state of a tenant apart from its settings.
type TenantStatus struct {
	Issuer      string     `json:"issuer"`  // the issuer URL of its tokens
	Enabled     bool       `json:"enabled"` // it is neither disabled nor suspended
	SuspendedAt *time.Time `json:"suspended_at,omitempty"`
	ManagedBy   string     `json:"managed_by,omitempty"` // "file": only the server's file can change its settings
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Tenant) UnmarshalJSON(text []byte) error {
	return decodeResource(text, &t.ID, &t.Settings, &t.Status)
}

// MarshalJSON implements json.Marshaler.
func (t Tenant) MarshalJSON() ([]byte, error) { return encodeResource(t.ID, t.Settings, t.Status) }

// Tenants are the tenants that the key is valid for.
type Tenants struct{ c *connection }

// List returns the tenants.
func (t Tenants) List(ctx context.Context, q ListQuery) iter.Seq2[Tenant, error] {
	return allPages[Tenant](ctx, t.c, []string{"tenants"}, q.values())
}

// Page returns one page of the tenants.
func (t Tenants) Page(ctx context.Context, q ListQuery) (*Page[Tenant], error) {
	return getPage[Tenant](ctx, t.c, []string{"tenants"}, q.values())
}

// Get returns a tenant.
func (t Tenants) Get(ctx context.Context, id string) (*Tenant, error) {
	return t.one(ctx, request{method: http.MethodGet, path: tenantPath(id), repeat: true}, nil)
}

// Put creates a tenant or replaces its settings. It does not change the objects in the
// tenant.
func (t Tenants) Put(ctx context.Context, id string, settings Settings, conditions ...Condition) (*Tenant, error) {
	return t.one(ctx, changeRequest(http.MethodPut, tenantPath(id), conditions), settings.body())
}

// Patch changes some settings of a tenant; nil restores a default (RFC 7396).
func (t Tenants) Patch(ctx context.Context, id string, settings Settings, conditions ...Condition) (*Tenant, error) {
	return t.one(ctx, changeRequest(http.MethodPatch, tenantPath(id), conditions), settings.body())
}

// Delete removes a tenant and everything in it. Its id can never be used again. confirm
// must repeat the id.
func (t Tenants) Delete(ctx context.Context, id, confirm string, conditions ...Condition) error {
	r := changeRequest(http.MethodDelete, tenantPath(id), conditions)
	r.query = url.Values{"confirm": {confirm}}
	_, err := t.c.call(ctx, r, nil, nil)
	return err
}

func (t Tenants) one(ctx context.Context, r request, body any) (*Tenant, error) {
	tenant := &Tenant{}
	header, err := t.c.call(ctx, r, body, tenant)
	if err != nil {
		return nil, err
	}
	tenant.ETag = header.Get("ETag")
	return tenant, nil
}
