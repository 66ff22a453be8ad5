package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// AdminKey is an admin key as the API shows it.
type AdminKey struct {
	ID         string     `json:"id" doc:"The id, which is part of the key"`
	Name       string     `json:"name" doc:"Who or what uses the key"`
	Role       string     `json:"role" enum:"owner,admin,support,viewer" doc:"What the key may do"`
	Tenants    []string   `json:"tenants,omitempty" doc:"The tenants that it is valid for; absent: all"`
	State      string     `json:"state" enum:"active,revoked,expired" doc:"Whether the key can be used"`
	CreatedAt  time.Time  `json:"created_at" doc:"When it was created"`
	CreatedBy  string     `json:"created_by" doc:"Who created it"`
	ParentID   string     `json:"parent_id,omitempty" doc:"The id of the admin key that created it; absent if a command created it"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty" doc:"When it expires; absent: never"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"To the hour"`
	RevokedAt  *time.Time `json:"revoked_at,omitempty" doc:"When it was revoked"`
	Key        string     `json:"key,omitempty" doc:"The key itself; only the response to its creation contains it"`
}

func newAdminKey(k models.AdminKey, now time.Time) AdminKey {
	state := "active"
	switch {
	case !k.RevokedAt.IsZero():
		state = "revoked"
	case !k.Usable(now):
		state = "expired"
	}
	return AdminKey{
		ID: k.ID, Name: k.Name, Role: string(k.Role), Tenants: k.Tenants, State: state, CreatedAt: k.CreatedAt.Time, CreatedBy: k.CreatedBy,
		ParentID: k.ParentID, ExpiresAt: moment(k.ExpiresAt), LastUsedAt: moment(k.LastUsedAt), RevokedAt: moment(k.RevokedAt),
	}
}

// Self returns the caller's own key.
func (s *Service) Self(c *Caller) AdminKey { return newAdminKey(*c.Key, s.Store.Now()) }

// AdminKeys returns a page of the admin keys, in the order of their creation.
func (s *Service) AdminKeys(ctx context.Context, c *Caller, p models.Page) (*List[AdminKey], error) {
	if err := c.may(owners, ""); err != nil {
		return nil, err
	}
	keys, err := s.Store.AdminKeys(ctx, p.After, p.Limit+1)
	if err != nil {
		return nil, err
	}
	more := len(keys) > p.Limit
	keys = keys[:min(len(keys), p.Limit)]
	list, last, now := make([]AdminKey, len(keys)), "", s.Store.Now()
	for i, k := range keys {
		list[i], last = newAdminKey(k, now), k.ID
	}
	return listOf(list, more, last), nil
}

// AdminKey returns one admin key.
func (s *Service) AdminKey(ctx context.Context, c *Caller, id string) (*AdminKey, error) {
	if err := c.may(owners, ""); err != nil {
		return nil, err
	}
	row, err := s.Store.AdminKey(ctx, id)
	if err != nil {
		return nil, err
	}
	key := newAdminKey(*row, s.Store.Now())
	return &key, nil
}

type adminKeyBody struct {
	Name      string          `yaml:"name"`
	Role      string          `yaml:"role"`
	Tenants   []string        `yaml:"tenants"`
	ExpiresAt *settings.Until `yaml:"expires_at"`

	settings.Place
}

// CreateAdminKey creates a key, which never outlives the caller's own. No other method
// returns the key itself.
func (s *Service) CreateAdminKey(ctx context.Context, c *Caller, body []byte) (*AdminKey, error) {
	if err := c.may(owners, ""); err != nil {
		return nil, err
	}
	var b adminKeyBody
	if err := decodeBody(body, "", &b); err != nil {
		return nil, err
	}
	now := s.Store.Now()
	spec := oauth.AdminKeySpec{Name: b.Name, Role: models.Role(b.Role), Tenants: b.Tenants, ExpiresAt: c.Key.ExpiresAt.Time}
	if b.ExpiresAt != nil {
		spec.ExpiresAt = b.ExpiresAt.From(now)
	}
	faults := spec.Validate(now)
	if end := c.Key.ExpiresAt; !end.IsZero() && spec.ExpiresAt.After(end.Time) {
		faults.Add("expires_at", "must not be later than the expiry of the key that creates it, %s", end.Format(time.RFC3339))
	}
	if len(faults) > 0 {
		return nil, invalidBody("", faults)
	}
	for i, tenant := range spec.Tenants {
		if err := s.tenantExists(ctx, tenant); errors.Is(err, models.ErrNotFound) {
			return nil, invalid(Fault{Pointer: fmt.Sprintf("/tenants/%d", i), Detail: "is not the id of a tenant"})
		} else if err != nil {
			return nil, err
		}
	}
	key, row := s.Keys.NewAdminKey()
	spec.Fill(&row)
	row.ParentID, row.CreatedBy = c.Key.ID, c.Key.Name
	switch err := s.Store.CreateAdminKey(ctx, &row, c.Actor()); {
	case errors.Is(err, models.ErrMaker):
		return nil, unauthorized("The admin key is not valid: it is unknown, revoked or expired")
	case err != nil:
		return nil, err
	}
	made := newAdminKey(row, now)
	made.Key = key
	return &made, nil
}

// RevokedKeys is the response to a revocation.
type RevokedKeys struct {
	Revoked []string `json:"revoked" doc:"The ids of the keys that this request revoked" nullable:"false"`
}

// RevokeAdminKey revokes a key and, if descendants is true, every key that was created
// with it, directly or through another key. It does not revoke the last usable key with
// the role owner.
func (s *Service) RevokeAdminKey(ctx context.Context, c *Caller, id string, descendants bool) (*RevokedKeys, error) {
	if err := c.may(owners, ""); err != nil {
		return nil, err
	}
	revoked, err := s.Store.RevokeAdminKey(ctx, id, descendants, false, c.Actor())
	if errors.Is(err, models.ErrLastOwner) {
		return nil, conflict("last_owner", "It is the last usable key with the role owner; create another first, or run latchkey admin-keys revoke on the server")
	}
	if err != nil {
		return nil, err
	}
	return &RevokedKeys{append([]string{}, revoked...)}, nil
}
