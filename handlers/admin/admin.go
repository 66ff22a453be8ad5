// Package admin is the management of a deployment: the operations that the admin API
// and the console offer to the holders of admin keys, and the admin API itself. What
// is changed passes through the same validation as a configuration file, and reaches
// the same rows with the same audit events.
package admin

import (
	"context"
	"log/slog"
	"slices"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// Service has the operations. Each of them checks what its caller may do.
type Service struct {
	Store   *models.Store
	OAuth   *oauth.Server
	Keys    *oauth.Keys
	BaseURL string // the issuer of the tenant "default"
	Log     *slog.Logger
}

// Caller is who calls an operation.
type Caller struct {
	Key       *models.AdminKey
	IP        string
	RequestID string

	machine bool // there is no key
}

// Machine returns the caller of a command that runs on the server itself. It may do
// everything that an owner may.
func Machine(name string) *Caller {
	return &Caller{Key: &models.AdminKey{Name: name, Role: models.RoleOwner}, machine: true}
}

// actor returns the caller as audit events name it.
func (c *Caller) actor() models.Actor {
	if c.machine {
		return models.Actor{Name: c.Key.Name, Role: models.RoleMachine}
	}
	return models.Actor{Name: c.Key.Name, Role: c.Key.Role, KeyID: c.Key.ID, IP: c.IP, RequestID: c.RequestID}
}

// roles are those who may call an operation.
type roles []models.Role

var (
	owners   = roles{models.RoleOwner}
	admins   = roles{models.RoleOwner, models.RoleAdmin}
	support  = roles{models.RoleOwner, models.RoleAdmin, models.RoleSupport}
	readers  = roles{models.RoleOwner, models.RoleAdmin, models.RoleViewer}
	everyone = roles{models.RoleOwner, models.RoleAdmin, models.RoleSupport, models.RoleViewer}
)

// may returns an error unless the caller has one of the roles and the tenant is one
// of the caller's. A tenant that is not looks like one that does not exist.
func (c *Caller) may(who roles, tenant string) error {
	if tenant != "" && !c.Key.MayUse(tenant) {
		return errNotFound
	}
	if !slices.Contains(who, c.Key.Role) {
		return forbidden("the role " + string(c.Key.Role) + " may not do this")
	}
	return nil
}

// validate checks tenants as they would be, as the configuration file is checked.
func (s *Service) validate(tenants []settings.TenantSpec) settings.Faults {
	return append(settings.ValidateTenants(tenants, s.BaseURL), oauth.CheckTenants(tenants)...)
}

// tenantExists returns models.ErrNotFound unless there is such a tenant.
func (s *Service) tenantExists(ctx context.Context, tenant string) error {
	return s.Store.TenantExists(ctx, tenant)
}
