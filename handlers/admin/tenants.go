package admin

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// Tenant is a tenant as the API returns it, without the objects in it.
type Tenant struct {
	ID       string
	Settings settings.Document
	Status   TenantStatus
	Version  string
}

// TenantStatus is the state of a tenant apart from its settings.
type TenantStatus struct {
	Issuer      string     `json:"issuer" doc:"The issuer URL of its tokens"`
	Enabled     bool       `json:"enabled" doc:"It is neither disabled nor suspended"`
	SuspendedAt *time.Time `json:"suspended_at,omitempty" doc:"When it was suspended"`
	ManagedBy   *string    `json:"managed_by,omitempty" enum:"file" doc:"file: the server's file owns its settings, and only a change of the file changes them"`
	CreatedAt   time.Time  `json:"created_at" doc:"When it was created"`
	UpdatedAt   time.Time  `json:"updated_at" doc:"The last change of the tenant, or of a client or trusted issuer in it"`
}

// MarshalJSON implements json.Marshaler.
func (t Tenant) MarshalJSON() ([]byte, error) { return resource(t.Settings, t.ID, t.Status) }

func (s *Service) newTenant(stored *models.StoredTenant) Tenant {
	row := stored.Row
	return Tenant{ID: row.ID, Settings: stored.Settings, Version: stored.Version(), Status: TenantStatus{
		Issuer: s.OAuth.IssuerOf(row.ID), Enabled: row.Enabled(), SuspendedAt: moment(row.SuspendedAt), ManagedBy: managedBy(stored.Managed),
		CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
	}}
}

// Tenants returns a page of the tenants that the caller's key is valid for.
func (s *Service) Tenants(ctx context.Context, c *Caller, p models.Page) (*List[Tenant], error) {
	if err := c.may(everyone, ""); err != nil {
		return nil, err
	}
	stored, more, err := s.Store.StoredTenants(ctx, c.Key.Tenants, p)
	if err != nil {
		return nil, err
	}
	list, last := make([]Tenant, len(stored)), ""
	for i := range stored {
		list[i], last = s.newTenant(&stored[i]), stored[i].Row.ID
	}
	return listOf(list, more, last), nil
}

// Tenant returns one tenant.
func (s *Service) Tenant(ctx context.Context, c *Caller, id string) (*Tenant, error) {
	if err := c.may(everyone, id); err != nil {
		return nil, err
	}
	stored, err := s.Store.StoredTenant(ctx, id)
	if err != nil {
		return nil, err
	}
	tenant := s.newTenant(stored)
	return &tenant, nil
}

// tenantBody is a tenant in a request.
type tenantBody struct {
	settings.TenantSpec `yaml:",inline"`
	Status              any `yaml:"status"`
}

const tenantAt = "tenants[0]"

// PutTenant creates a tenant or replaces its own settings. It does not change the
// objects in the tenant.
func (s *Service) PutTenant(ctx context.Context, c *Caller, id string, body []byte, p Precondition) (tenant *Tenant, created bool, err error) {
	if err := c.may(owners, id); err != nil {
		return nil, false, err
	}
	if created, err = s.writeTenant(ctx, c, id, body, p.check); err != nil {
		return nil, false, err
	}
	tenant, err = s.Tenant(ctx, c, id)
	return tenant, created, err
}

// PatchTenant changes some settings of a tenant (RFC 7396).
func (s *Service) PatchTenant(ctx context.Context, c *Caller, id string, body []byte, p Precondition) (*Tenant, error) {
	if err := c.may(owners, id); err != nil {
		return nil, err
	}
	err := patch(body, p, nil, func() (settings.Document, string, error) {
		stored, err := s.Store.StoredTenant(ctx, id)
		if err != nil {
			return nil, "", err
		}
		return stored.Settings, stored.Version(), nil
	}, func(merged []byte, check func(string) error) error {
		_, err := s.writeTenant(ctx, c, id, merged, check)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.Tenant(ctx, c, id)
}

func (s *Service) writeTenant(ctx context.Context, c *Caller, id string, body []byte, check func(string) error) (created bool, err error) {
	var b tenantBody
	if err := decodeBody(body, tenantAt, &b); err != nil {
		return false, err
	}
	if err := sameID("id", b.ID, id); err != nil {
		return false, err
	}
	var faults settings.Faults
	for key, at := range map[string]string{"clients": "clients", "trusted_issuers": "trusted-issuers", "users": "users", "event_destinations": "event-destinations"} {
		if _, given := b.Written[key]; given {
			faults.Add(settings.Member(tenantAt, key), "is not part of this resource: use …/tenants/{tenant}/%s", at)
		}
	}
	if len(faults) > 0 {
		return false, invalidBody(tenantAt, faults)
	}
	b.ID = id
	created, err = s.apply(ctx, c, tenantAt, b.TenantSpec, models.ApplyOptions{Replace: true, KeepSecrets: true, Precondition: check})
	if err == nil && created {
		err = s.OAuth.EnsureSigningKeys(ctx)
	}
	return created, err
}

// DeleteTenant removes a tenant and everything in it. Its id can never be used again.
// `confirm` must repeat the id.
func (s *Service) DeleteTenant(ctx context.Context, c *Caller, id, confirm string, p Precondition) error {
	if err := c.may(owners, id); err != nil {
		return err
	}
	err := s.tenantExists(ctx, id)
	switch {
	case err != nil:
		return err
	case id == settings.DefaultTenant:
		return conflict("default_tenant", "The tenant \"default\" cannot be removed")
	case confirm != id:
		return invalidParameter("confirm", "must repeat the id of the tenant: everything in it is removed, and its id can never be used again")
	}
	return s.remove(ctx, c, nil, models.Ref{Kind: models.KindTenant, Tenant: id, ID: id}, p)
}

// FileOwned returns at most limit objects of a tenant that the file of serve owns.
func (s *Service) FileOwned(ctx context.Context, c *Caller, tenant string, limit int) ([]models.Ref, error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return nil, err
	}
	return s.Store.FileOwned(ctx, tenant, limit)
}
