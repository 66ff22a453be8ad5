// Package admin contains the operations that manage a deployment, and the admin API
// that offers them to the holders of admin keys. A change passes the same validation as
// a configuration file, is written to the same rows, and causes the same audit events.
package admin

import (
	"context"
	"log/slog"
	"slices"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// Service has the operations as methods. Each method checks that its caller may use it.
type Service struct {
	Store   *models.Store
	OAuth   *oauth.Server
	Keys    *keys.Roots
	BaseURL string // the issuer of the tenant "default"
	Log     *slog.Logger

	streams openStreams
}

// Caller identifies who calls an operation.
type Caller struct {
	Key       *models.AdminKey
	IP        string
	RequestID string

	machine bool // a command on the server, without an admin key
}

// Machine returns the caller of a command that runs on the server itself. It may do
// everything that an owner may.
func Machine(name string) *Caller {
	return &Caller{Key: &models.AdminKey{Name: name, Role: models.RoleOwner}, machine: true}
}

// Actor returns the caller in the form that audit events contain.
func (c *Caller) Actor() models.Actor {
	if c.machine {
		return models.Actor{Name: c.Key.Name, Role: models.RoleMachine}
	}
	return models.Actor{Name: c.Key.Name, Role: c.Key.Role, KeyID: c.Key.ID, IP: c.IP, RequestID: c.RequestID}
}

// roles lists the roles that may call an operation.
type roles []models.Role

var (
	owners   = roles{models.RoleOwner}
	admins   = roles{models.RoleOwner, models.RoleAdmin}
	support  = roles{models.RoleOwner, models.RoleAdmin, models.RoleSupport}
	readers  = roles{models.RoleOwner, models.RoleAdmin, models.RoleViewer}
	everyone = roles{models.RoleOwner, models.RoleAdmin, models.RoleSupport, models.RoleViewer}
)

// may returns an error unless the caller has one of the roles and the caller's key is
// valid for the tenant. A tenant that it is not valid for looks as if it did not exist.
func (c *Caller) may(who roles, tenant string) error {
	if tenant != "" && !c.Key.MayUse(tenant) {
		return ErrNotFound
	}
	if !slices.Contains(who, c.Key.Role) {
		return forbidden("the role " + string(c.Key.Role) + " does not include this operation")
	}
	return nil
}

// validate checks tenants as they would be after a change, by the rules of the
// configuration file.
func (s *Service) validate(tenants []settings.TenantSpec) settings.Faults {
	return append(settings.ValidateTenants(tenants, s.BaseURL), oauth.CheckTenants(tenants)...)
}

// tenantExists returns models.ErrNotFound if there is no such tenant.
func (s *Service) tenantExists(ctx context.Context, tenant string) error {
	return s.Store.TenantExists(ctx, tenant)
}
