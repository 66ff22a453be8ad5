package models

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/settings"
)

// UserChange is an operator's change of a user.
type UserChange struct {
	Replace    bool           // remove the operator's attributes that Attributes does not name
	Attributes map[string]any // attributes to set; a nil value removes one
	Disabled   *bool          // nil: unchanged

	Actor        Actor
	Create       bool                       // create the user if there is none
	Precondition func(version string) error // an error of it aborts the change; nil: none
}

// Version changes whenever the user's attributes or state do. A sign-in that changes
// neither does not change it.
func (u *User) Version() string { return userVersion(u) }

// ManagedAttributeError is the error of a change to attributes that the file of serve
// sets.
type ManagedAttributeError struct{ Names []string }

// Error implements error.
func (e *ManagedAttributeError) Error() string {
	return "the file of \"latchkey serve\" sets these attributes: " + strings.Join(e.Names, ", ") + "; change them in the file and restart a node"
}

// ChangeUser changes a user and writes the audit event, in one transaction. It reports
// whether it created the user. It returns ErrNotFound if there is no such tenant, or no
// such user and Create is false.
func (s *Store) ChangeUser(ctx context.Context, tenant, sub string, c UserChange) (created bool, err error) {
	err = s.longTransaction(ctx, func(tx *gorm.DB) error {
		if _, _, err := lockExistingTenant(tx, tenant, time.Time{}); err != nil {
			return err
		}
		return s.withTenantLocked(tx, tenant, func(a *applier, _ bool) error {
			a.o.Actor, a.source = c.Actor, sourceOperator
			if err := a.changeUser(tenant, sub, c); err != nil {
				return err
			}
			created = false
			for _, change := range a.changes {
				created = created || change.Created
				if err := s.audit(tx, c.Actor, change); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return created, err
}

// changeUser decides which attributes to set and to remove; writeUser writes them.
func (a *applier) changeUser(tenant, sub string, c UserChange) error {
	row, err := a.store.lockUser(a.tx, tenant, sub)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	case !exists && !c.Create:
		return ErrNotFound
	case !exists:
		row = &User{}
	}
	if !exists {
		var clients int
		if err := a.tx.Raw("SELECT count(*) FROM clients WHERE tenant_id = ? AND id = ? AND removed_at IS NULL", tenant, sub).Row().Scan(&clients); err != nil {
			return err
		}
		if clients > 0 {
			return settings.Faults{{Path: "sub", Problem: "is the id of a client"}}
		}
	}
	if c.Precondition != nil {
		v := ""
		if exists {
			v = row.Version()
		}
		if err := c.Precondition(v); err != nil {
			return err
		}
	}
	var managed []string
	removed := map[string]bool{}
	set := map[string]any{}
	for name, value := range c.Attributes {
		switch {
		case row.Sources[name] == sourceFile && jsonText(value) != jsonText(row.Attributes[name]):
			managed = append(managed, name)
		case value == nil:
			removed[name] = true
		default:
			set[name] = value
		}
	}
	if len(managed) > 0 {
		slices.Sort(managed)
		return &ManagedAttributeError{managed}
	}
	if c.Replace {
		for name, source := range row.Sources {
			if _, named := c.Attributes[name]; !named && source == sourceOperator {
				removed[name] = true
			}
		}
	}
	if c.Disabled != nil && *c.Disabled != row.Disabled {
		owned, err := ownedByFile(a.tx, tenant)
		if err != nil {
			return err
		}
		if owned[Ref{KindUser, tenant, sub}] {
			return settings.Faults{{Path: "disabled", Problem: managedByFile, Code: settings.FaultManagedByFile}}
		}
	}
	want := settings.UserSpec{Sub: sub, Attributes: set, Disabled: row.Disabled}
	if c.Disabled != nil {
		want.Disabled = *c.Disabled
	}
	return a.writeUser(tenant, want, removed)
}

// without returns a copy without the named attributes.
func (u UserAttributes) without(names map[string]bool) UserAttributes {
	gone := func(name string, _ any) bool { return names[name] }
	u.Values, u.Sources = maps.Clone(u.Values), maps.Clone(u.Sources)
	maps.DeleteFunc(u.Values, gone)
	maps.DeleteFunc(u.Sources, func(name string, _ string) bool { return names[name] })
	return u
}
