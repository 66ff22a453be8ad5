package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Kind is a kind of thing that can be suspended.
type Kind string

// The kinds of things that can be suspended.
const (
	KindTenant        Kind = "tenant"
	KindClient        Kind = "client"
	KindTrustedIssuer Kind = "issuer"
	KindUser          Kind = "user"
)

// Target names what is suspended or resumed. It need not exist yet.
type Target struct {
	Kind   Kind
	Tenant string
	ID     string // ignored for a tenant; of a trusted issuer the id of the entry, or its URL for every entry with this URL
}

func (t Target) path(verb string) ([]string, error) {
	segments := map[Kind]string{KindClient: "clients", KindTrustedIssuer: "trusted-issuers", KindUser: "users"}
	switch segment, known := segments[t.Kind]; {
	case t.Kind == KindTenant:
		return tenantPath(t.Tenant, verb), nil
	case known:
		return tenantPath(t.Tenant, segment, t.ID, verb), nil
	}
	return nil, fmt.Errorf("latchkey: invalid Kind %q", t.Kind)
}

// SuspendOptions configure [Client.Suspend].
type SuspendOptions struct {
	Reason string `json:"reason,omitempty"`  // for other operators
	DryRun bool   `json:"dry_run,omitempty"` // change nothing, and report how many sessions would end
}

// Suspension is the outcome of suspending or resuming.
type Suspension struct {
	Suspended   bool       `json:"suspended"` // it is suspended now
	SuspendedAt *time.Time `json:"suspended_at,omitempty"`
	SuspendedBy string     `json:"suspended_by,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Already     bool       `json:"already,omitempty"`  // it was suspended before, and stays so
	Exists      bool       `json:"exists"`             // if not, it is suspended as soon as it is made
	Sessions    *int       `json:"sessions,omitempty"` // live ones, which end; 10,001 for more than 10,000; nil: not counted
	Lifted      *Lifted    `json:"lifted,omitempty"`   // by resuming
	OtherID     string     `json:"other_id,omitempty"` // after resuming: the name of the suspension that keeps it off
	Followed    string     `json:"followed,omitempty"` // after resuming: the URL that stays suspended
}

// Lifted is a suspension that was lifted.
type Lifted struct {
	SuspendedAt time.Time `json:"suspended_at"`
	SuspendedBy string    `json:"suspended_by,omitempty"`
	Reason      string    `json:"reason,omitempty"`
}

// Suspend disables a tenant, client, trusted issuer or user at once, whatever its
// settings say, and ends its sessions.
func (c *Client) Suspend(ctx context.Context, target Target, o SuspendOptions) (*Suspension, error) {
	return c.suspension(ctx, target, "suspend", o)
}

// Resume lifts a suspension. Sessions from before stay ended.
func (c *Client) Resume(ctx context.Context, target Target) (*Suspension, error) {
	return c.suspension(ctx, target, "resume", nil)
}

func (c *Client) suspension(ctx context.Context, target Target, verb string, body any) (*Suspension, error) {
	path, err := target.path(verb)
	if err != nil {
		return nil, err
	}
	s := &Suspension{}
	if _, err := c.c.call(ctx, request{method: http.MethodPost, path: path}, body, s); err != nil {
		return nil, err
	}
	return s, nil
}
