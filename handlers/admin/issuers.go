package admin

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// Issuer is a trusted issuer as the API returns it.
type Issuer struct {
	ID       string
	Settings settings.Document
	Status   IssuerStatus
	Version  string
}

// IssuerStatus is the state of a trusted issuer apart from its settings.
type IssuerStatus struct {
	Enabled      bool       `json:"enabled" doc:"It is neither disabled nor suspended"`
	SuspendedAt  *time.Time `json:"suspended_at,omitempty" doc:"When it was suspended"`
	ManagedBy    *string    `json:"managed_by,omitempty" enum:"file" doc:"file: the server's file owns its settings, and only a change of the file changes them"`
	SharedSecret bool       `json:"shared_secret" doc:"It has a shared secret"`
	CreatedAt    time.Time  `json:"created_at" doc:"When it was created"`
	UpdatedAt    time.Time  `json:"updated_at" doc:"When it was last changed"`
}

// MarshalJSON implements json.Marshaler.
func (i Issuer) MarshalJSON() ([]byte, error) { return resource(i.Settings, i.ID, i.Status) }

func newIssuer(stored *models.StoredIssuer) Issuer {
	row := stored.Row
	return Issuer{ID: row.EntryID, Settings: stored.Settings, Version: stored.Version(), Status: IssuerStatus{
		Enabled: row.Enabled(), SuspendedAt: moment(row.SuspendedAt), ManagedBy: managedBy(stored.Managed),
		SharedSecret: row.SealedSecret != nil, CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
	}}
}

// Issuers returns a page of the trusted issuers of a tenant.
func (s *Service) Issuers(ctx context.Context, c *Caller, tenant string, p models.Page) (*List[Issuer], error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	if err := s.tenantExists(ctx, tenant); err != nil {
		return nil, err
	}
	stored, more, err := s.Store.StoredIssuers(ctx, tenant, p)
	if err != nil {
		return nil, err
	}
	list, last := make([]Issuer, len(stored)), ""
	for i := range stored {
		list[i], last = newIssuer(&stored[i]), stored[i].Row.EntryID
	}
	return listOf(list, more, last), nil
}

// Issuer returns one trusted issuer.
func (s *Service) Issuer(ctx context.Context, c *Caller, tenant, id string) (*Issuer, error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	stored, err := s.Store.StoredIssuer(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	issuer := newIssuer(stored)
	return &issuer, nil
}

// issuerBody is a trusted issuer in a request.
type issuerBody struct {
	settings.IssuerSpec `yaml:",inline"`
	Status              any `yaml:"status"`
}

const issuerAt = "tenants[0].trusted_issuers[0]"

// PutIssuer creates a trusted issuer or replaces its settings. If the body has no keys,
// the stored shared secret is kept.
func (s *Service) PutIssuer(ctx context.Context, c *Caller, tenant, id string, body []byte, p Precondition) (issuer *Issuer, created bool, err error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, false, err
	}
	if created, err = s.writeIssuer(ctx, c, tenant, id, body, p.check); err != nil {
		return nil, false, err
	}
	issuer, err = s.Issuer(ctx, c, tenant, id)
	return issuer, created, err
}

// PatchIssuer changes some settings of a trusted issuer (RFC 7396).
func (s *Service) PatchIssuer(ctx context.Context, c *Caller, tenant, id string, body []byte, p Precondition) (*Issuer, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	err := patch(body, p, nil, func() (settings.Document, string, error) {
		stored, err := s.Store.StoredIssuer(ctx, tenant, id)
		if err != nil {
			return nil, "", err
		}
		return stored.Settings, stored.Version(), nil
	}, func(merged []byte, check func(string) error) error {
		_, err := s.writeIssuer(ctx, c, tenant, id, merged, check)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.Issuer(ctx, c, tenant, id)
}

func (s *Service) writeIssuer(ctx context.Context, c *Caller, tenant, id string, body []byte, check func(string) error) (created bool, err error) {
	var b issuerBody
	if err := decodeBody(body, issuerAt, &b); err != nil {
		return false, err
	}
	if err := sameID("id", b.ID, id); err != nil {
		return false, err
	}
	if b.Keys.SharedSecretFile != "" {
		return false, invalid(Fault{Pointer: "/keys/shared_secret_file", Detail: "is not available here: send the content as shared_secret"})
	}
	if b.AllowPrivateAddresses && c.Key.Role != models.RoleOwner {
		stored, err := s.Store.StoredIssuer(ctx, tenant, id)
		if err != nil && !errors.Is(err, models.ErrNotFound) {
			return false, err
		}
		if stored == nil || !stored.Row.Settings.AllowPrivateAddresses {
			return false, forbidden("only a key with the role owner may set allow_private_addresses")
		}
		if stored.Row.Settings.Issuer != b.Issuer || stored.Row.Settings.Keys.JWKSURI != b.Keys.JWKSURI {
			return false, forbidden("only a key with the role owner may change the address of a trusted issuer that has allow_private_addresses")
		}
	}
	b.ID = id
	wanted := settings.InTenant(tenant)
	wanted.TrustedIssuers = []settings.IssuerSpec{b.IssuerSpec}
	return s.apply(ctx, c, issuerAt, wanted, models.ApplyOptions{Replace: true, KeepSecrets: true, Precondition: check})
}

// DeleteIssuer removes a trusted issuer and ends the sessions that began with it.
func (s *Service) DeleteIssuer(ctx context.Context, c *Caller, tenant, id string, p Precondition) error {
	if err := c.may(admins, tenant); err != nil {
		return err
	}
	return s.remove(ctx, c, []settings.TenantSpec{settings.InTenant(tenant)}, models.Ref{Kind: models.KindIssuer, Tenant: tenant, ID: id}, p)
}
