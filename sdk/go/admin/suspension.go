package admin

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"time"
)

// Kind is a kind of object that can be suspended.
type Kind string

// The kinds of objects that can be suspended.
const (
	KindTenant        Kind = "tenant"
	KindClient        Kind = "client"
	KindTrustedIssuer Kind = "issuer"
	KindUser          Kind = "user"
)

// Target identifies an object to suspend or resume. It need not exist yet.
type Target struct {
	Kind   Kind
	Tenant string
	ID     string // ignored for a tenant; for a trusted issuer, the id of its entry, or a URL, which means every entry with this URL
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
	Reason string `json:"reason,omitempty"`  // for other operators to read
	DryRun bool   `json:"dry_run,omitempty"` // change nothing, and report how many sessions would end
}

// Suspension is the result of Suspend or Resume.
type Suspension struct {
	Suspended   bool       `json:"suspended"` // it is suspended now
	SuspendedAt *time.Time `json:"suspended_at,omitempty"`
	SuspendedBy string     `json:"suspended_by,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Already     bool       `json:"already,omitempty"`  // it was already suspended, and remains suspended
	Exists      bool       `json:"exists"`             // if false, it is suspended when it is created
	Sessions    *int       `json:"sessions,omitempty"` // after Suspend: live sessions, which end; 10,001 means more than 10,000; nil: not counted
	Lifted      *Lifted    `json:"lifted,omitempty"`   // after Resume: the suspension that was lifted
	OtherID     string     `json:"other_id,omitempty"` // after Resume: the id or URL of another suspension, which keeps it suspended
	Followed    string     `json:"followed,omitempty"` // after Resume: the URL that remains suspended
}

// Lifted is a suspension that was lifted.
type Lifted struct {
	SuspendedAt time.Time `json:"suspended_at"`
	SuspendedBy string    `json:"suspended_by,omitempty"`
	Reason      string    `json:"reason,omitempty"`
}

// Suspend disables a tenant, client, trusted issuer or user at once, regardless of its
// settings, and ends its sessions.
func (c *Client) Suspend(ctx context.Context, target Target, o SuspendOptions) (*Suspension, error) {
	return c.suspension(ctx, target, "suspend", o)
}

// Resume lifts a suspension. Ended sessions remain ended.
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

// ListedSuspension is one suspension in a list.
type ListedSuspension struct {
	Tenant      string     `json:"tenant"`
	Kind        Kind       `json:"kind"`
	ID          string     `json:"id,omitempty"`           // empty for a user who does not exist, of whom only a digest is stored
	Digest      string     `json:"digest,omitempty"`       // if ID is empty: the beginning of the digest
	Exists      bool       `json:"exists"`                 // if false, it is suspended when it is created
	SuspendedAs string     `json:"suspended_as,omitempty"` // the URL that a trusted issuer had when it was suspended
	SuspendedAt *time.Time `json:"suspended_at,omitempty"`
	SuspendedBy string     `json:"suspended_by,omitempty"` // empty: unknown
	Reason      string     `json:"reason,omitempty"`
}

// Suspensions returns what is suspended in a tenant or, if tenant is empty, in all
// tenants of the client's key, oldest first.
func (c *Client) Suspensions(ctx context.Context, tenant string) iter.Seq2[ListedSuspension, error] {
	query := pageValues(500, "")
	setParam(query, "tenant", tenant)
	return allPages[ListedSuspension](ctx, c.c, []string{"suspensions"}, query)
}
