package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// ErrAdminKey is the error of a key of the admin API that is not valid: unknown,
// revoked or expired. Its text does not say which.
var ErrAdminKey = errors.New("the admin key is not valid: it is unknown, revoked or expired")

// TooManyFailuresError is the error of a wrong key that was sent too soon after
// others. A right key is never refused for it.
type TooManyFailuresError struct{ Wait time.Duration }

// Error implements error.
func (e *TooManyFailuresError) Error() string {
	return fmt.Sprintf("too many failed authentication attempts; try again in %s", e.Wait.Round(time.Second))
}

// AuthenticateAdminKey returns the row of a key of the admin API. It reads the row
// at each call, so that a revocation has effect at once on every node. The errors
// are ErrAdminKey, *TooManyFailuresError, and faults of the server.
func (s *Server) AuthenticateAdminKey(ctx context.Context, text, ip string) (*models.AdminKey, error) {
	a, err := s.keys.ParseAdminKey(text)
	if err != nil {
		return nil, s.refuseAdminKey(ctx, "", ip)
	}
	id := a.ID()
	row, err := s.store.AdminKey(ctx, id)
	if errors.Is(err, models.ErrNotFound) {
		return nil, s.refuseAdminKey(ctx, "", ip)
	}
	if err != nil {
		return nil, err
	}
	if !s.keys.Accepts(row.RootVersion) {
		return nil, fmt.Errorf("admin key %s is digested under a root secret that is not configured", id)
	}
	now := s.now()
	if !s.keys.MatchAdminKey(a, models.Digest{Digest: row.Digest, RootVersion: row.RootVersion}) || !row.Usable(now) {
		return nil, s.refuseAdminKey(ctx, id, ip)
	}
	if row.RootVersion != int64(s.keys.Issuing()) {
		if err := s.store.RenewAdminKey(ctx, row, s.keys.DigestAdminKey(a)); err != nil {
			s.log.Warn("renew the digest of an admin key", "key", id, "error", err)
		}
	}
	if err := s.store.UseAdminKey(ctx, row, now); err != nil {
		s.log.Warn("record the use of an admin key", "key", id, "error", err)
	}
	return row, nil
}

// refuseAdminKey counts a key that is not valid. The key with the id exists, so that
// somebody has had it: that is an event. Other texts are not, because anybody can
// send them.
func (s *Server) refuseAdminKey(ctx context.Context, id, ip string) error {
	if wait := s.throttle.fail("", "admin key", ip, s.now()); wait > 0 {
		return &TooManyFailuresError{wait}
	}
	if id != "" {
		if err := s.store.AddAdminFailure(ctx, id, ip); err != nil {
			return err
		}
	}
	return ErrAdminKey
}

// AdminKeySpec is what a new admin key is to be.
type AdminKeySpec struct {
	Name      string
	Role      models.Role
	Tenants   []string  // nil: all
	ExpiresAt time.Time // zero: never
}

// adminRoles are the roles that a key may have.
var adminRoles = []models.Role{models.RoleOwner, models.RoleAdmin, models.RoleSupport, models.RoleViewer}

// Validate returns what is wrong with the key, with the names of the admin API's
// members as paths.
func (a AdminKeySpec) Validate(now time.Time) settings.Faults {
	var faults settings.Faults
	if n := utf8.RuneCountInString(a.Name); n == 0 || n > 64 || strings.ContainsFunc(a.Name, unicode.IsControl) || !utf8.ValidString(a.Name) {
		faults.Add("name", "must be 1 to 64 characters, without control characters")
	}
	if !slices.Contains(adminRoles, a.Role) {
		faults.Add("role", "must be owner, admin, support or viewer")
	}
	if a.Role == models.RoleOwner && a.Tenants != nil {
		faults.Add("tenants", "must be left out: an owner's key is for every tenant")
	}
	if a.Tenants != nil && len(a.Tenants) == 0 {
		faults.Add("tenants", "is empty; leave it out for every tenant")
	}
	for i, id := range a.Tenants {
		switch {
		case !settings.ValidTenantID(id):
			faults.Add(fmt.Sprintf("tenants[%d]", i), "must be the id of a tenant")
		case slices.Contains(a.Tenants[:i], id):
			faults.Add(fmt.Sprintf("tenants[%d]", i), "is given twice")
		}
	}
	if len(a.Tenants) > 100 {
		faults.Add("tenants", "must have at most 100 tenants; leave it out for every tenant")
	}
	if !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(now) {
		faults.Add("expires_at", "must be in the future")
	}
	return faults
}

// Fill sets the fields of the row.
func (a AdminKeySpec) Fill(row *models.AdminKey) {
	row.Name, row.Role, row.Tenants, row.ExpiresAt = a.Name, a.Role, a.Tenants, models.At(a.ExpiresAt)
}
