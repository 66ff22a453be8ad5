package admin

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// User is a user as the API returns them.
type User struct {
	Sub        string         `json:"sub" doc:"The user's id: sub in tokens"`
	Attributes map[string]any `json:"attributes" doc:"The attributes, which expressions read as user.NAME"`
	Disabled   bool           `json:"disabled" doc:"The user cannot sign in"`
	Status     UserStatus     `json:"status" doc:"The state of the user, which is not part of the settings"`
	Version    string         `json:"-"`
}

// UserStatus is the state of a user apart from what operators set.
type UserStatus struct {
	Enabled      bool              `json:"enabled" doc:"The user is neither disabled nor suspended"`
	Suspended    bool              `json:"suspended" doc:"The user is suspended"`
	ManagedBy    *string           `json:"managed_by,omitempty" enum:"file" doc:"file: the server's file names the user"`
	AttributesBy map[string]string `json:"attributes_by,omitempty" doc:"Who set each attribute: file, operator, or issuer followed by the URL of a trusted issuer"`
	SeenAt       *time.Time        `json:"seen_at,omitempty" doc:"The last sign-in, or up to two weeks earlier"`
	Sessions     *int              `json:"sessions,omitempty" doc:"The number of live sessions. 10,001 means more than 10,000; absent if more than 10,000 are stored and not all of the newest are live"`
}

// ListedUser is a user in a list.
type ListedUser struct {
	Sub          string    `json:"sub" doc:"The user's id: sub in tokens"`
	Issuers      []string  `json:"issuers" doc:"The URLs of the trusted issuers that can sign the user in" nullable:"false"`
	Subject      string    `json:"subject,omitempty" doc:"The sub without the subject_prefix of these trusted issuers; absent if there are none"`
	CreatedAt    time.Time `json:"created_at" doc:"When the user was created"`
	SeenAt       time.Time `json:"seen_at" doc:"The last sign-in, or up to two weeks earlier"`
	Sessions     int       `json:"sessions" doc:"Live sessions among up to 10 stored ones; get-user counts all"`
	MoreSessions bool      `json:"more_sessions,omitempty" doc:"The user has more stored sessions than were counted"`
	Disabled     bool      `json:"disabled" doc:"The user is disabled"`
	Suspended    bool      `json:"suspended" doc:"The user is suspended"`
}

// Users returns a page of the users of a tenant whose sub begins with p.Match. issuer
// and attribute, such as email:ada@example.com, select them further unless they are
// empty.
func (s *Service) Users(ctx context.Context, c *Caller, tenant, issuer, attribute string, p models.Page) (*List[ListedUser], error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	f := models.UserFilter{Tenant: tenant, Issuer: issuer, Prefix: p.Match, After: p.After, Limit: p.Limit}
	if attribute != "" {
		name, value, found := strings.Cut(attribute, ":")
		if !found {
			return nil, invalidParameter("attribute", "must be the name of an attribute, a colon and its value, as in email:ada@example.com")
		}
		f.Attribute = &models.AttributeMatch{Name: name, Value: value}
	}
	found, more, err := s.Store.ListUsers(ctx, f)
	var unknown *models.UnknownIssuerError
	switch {
	case errors.As(err, &unknown):
		return nil, invalidParameter("issuer", "is not the id or the URL of a trusted issuer of the tenant")
	case errors.Is(err, models.ErrNotSearchable):
		return nil, invalidParameter("attribute", "does not name one of the searchable_attributes of the tenant")
	case errors.Is(err, models.ErrIndexing):
		return nil, conflict("indexing", "The attribute was added to searchable_attributes recently, and not all users have been indexed; try again in a minute")
	case err != nil:
		return nil, err
	}
	list, last := make([]ListedUser, len(found)), ""
	for i, u := range found {
		last = u.Sub
		list[i] = ListedUser{Sub: u.Sub, Issuers: append([]string{}, u.Issuers...), Subject: u.Subject, CreatedAt: u.CreatedAt, SeenAt: u.SeenAt, Sessions: u.Sessions, MoreSessions: u.More, Disabled: u.Disabled, Suspended: u.Suspended}
	}
	return listOf(list, more, last), nil
}

// User returns one user.
func (s *Service) User(ctx context.Context, c *Caller, tenant, sub string) (*User, error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	row, err := s.Store.User(ctx, tenant, sub)
	if err != nil {
		return nil, err
	}
	by, err := s.Store.Setters(ctx, row)
	if err != nil {
		return nil, err
	}
	ref := models.Ref{Kind: models.KindUser, Tenant: tenant, ID: sub}
	managed, err := s.Store.ManagedByFile(ctx, ref)
	if err != nil {
		return nil, err
	}
	var live *int
	if n, err := s.Store.LiveSessions(ctx, ref); err == nil {
		live = &n
	} else if !errors.Is(err, models.ErrTooManyStored) {
		return nil, err
	}
	u := &User{Sub: row.Sub, Attributes: row.Attributes, Disabled: row.Disabled, Version: row.Version(), Status: UserStatus{
		Enabled: !row.Disabled && !row.Suspended, Suspended: row.Suspended, ManagedBy: managedBy(managed), AttributesBy: by, Sessions: live,
	}}
	if u.Attributes == nil {
		u.Attributes = map[string]any{}
	}
	if !row.SeenAt.IsZero() {
		u.Status.SeenAt = &row.SeenAt
	}
	return u, nil
}

// userBody is a user in a request.
type userBody struct {
	settings.UserSpec `yaml:",inline"`
	Status            any `yaml:"status"`
}

const userAt = "tenants[0].users[0]"

// PutUser creates a user, or replaces the attributes that operators set by those of the
// body. It keeps the attributes that trusted issuers and the server's file set.
func (s *Service) PutUser(ctx context.Context, c *Caller, tenant, sub string, body []byte, p Precondition) (user *User, created bool, err error) {
	return s.changeUser(ctx, c, tenant, sub, body, p, true)
}

// PatchUser sets the attributes that the body contains and removes those that are null.
func (s *Service) PatchUser(ctx context.Context, c *Caller, tenant, sub string, body []byte, p Precondition) (*User, error) {
	user, _, err := s.changeUser(ctx, c, tenant, sub, body, p, false)
	return user, err
}

func (s *Service) changeUser(ctx context.Context, c *Caller, tenant, sub string, body []byte, p Precondition, replace bool) (user *User, created bool, err error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, false, err
	}
	var b userBody
	if err := decodeBody(body, userAt, &b); err != nil {
		return nil, false, err
	}
	if err := sameID("sub", b.Sub, sub); err != nil {
		return nil, false, err
	}
	b.Sub = sub
	wanted := settings.InTenant(tenant)
	wanted.Users = []settings.UserSpec{b.UserSpec}
	if faults := settings.ValidateTenants([]settings.TenantSpec{wanted}, s.BaseURL); len(faults) > 0 {
		return nil, false, invalidBody(userAt, faults)
	}
	change := models.UserChange{Replace: replace, Create: replace, Attributes: b.Attributes, Actor: c.Actor(), Precondition: p.check}
	if given, has := b.Written["disabled"]; has || replace {
		disabled := given && b.Disabled
		change.Disabled = &disabled
	}
	if created, err = s.Store.ChangeUser(ctx, tenant, sub, change); err != nil {
		return nil, false, err
	}
	user, err = s.User(ctx, c, tenant, sub)
	return user, created, err
}

// DeletedUser reports what DeleteUser did.
type DeletedUser struct {
	Pseudonym string `json:"pseudonym" doc:"Replaces the sub in events. It cannot be mapped back to the user"`
	Sessions  int    `json:"sessions" doc:"The number of sessions that ended"`
	Suspended bool   `json:"suspended" doc:"The user is suspended. The suspension remains, so that a user with this sub cannot sign in"`
	Disabled  bool   `json:"was_disabled,omitempty" doc:"The user was disabled. That was deleted too, so that a user with this sub can sign in again"`

	Receivers []string `json:"receivers,omitempty" doc:"The ids of the event destinations that may have received events about the user. Their receivers keep what they have received"`
}

// DeleteUser deletes a user and everything personal about them.
func (s *Service) DeleteUser(ctx context.Context, c *Caller, tenant, sub string) (*DeletedUser, error) {
	if err := c.may(admins, tenant); err != nil {
		return nil, err
	}
	managed, err := s.Store.ManagedByFile(ctx, models.Ref{Kind: models.KindUser, Tenant: tenant, ID: sub})
	if err != nil {
		return nil, err
	}
	if managed {
		return nil, conflict("managed_by_file", "The file of \"latchkey serve\" names the user and would create them again: remove them from the file first")
	}
	done, err := s.Store.DeleteUser(ctx, tenant, sub, c.Actor())
	if done == nil {
		return nil, err
	}
	if err != nil {
		s.Log.Warn("events may still name a deleted user until they have been rewritten", "tenant", tenant, "error", err)
	}
	return &DeletedUser{Pseudonym: done.Pseudonym, Sessions: done.Sessions, Suspended: done.Suspended, Disabled: done.WasDisabled, Receivers: done.Receivers}, nil
}
