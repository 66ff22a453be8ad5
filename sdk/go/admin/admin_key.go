package admin

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// AdminKey is a key of the admin API. fmt and log/slog do not print the key itself.
type AdminKey struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       string     `json:"role"`              // owner, admin, support or viewer
	Tenants    []string   `json:"tenants,omitempty"` // nil: all
	State      string     `json:"state"`             // active, revoked or expired
	CreatedAt  time.Time  `json:"created_at"`
	CreatedBy  string     `json:"created_by"`
	ParentID   string     `json:"parent_id,omitempty"` // the admin key that created it; empty: a command created it
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"` // to the hour
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	Key        string     `json:"key,omitempty"` // the key itself; only Create returns it
}

// String returns the id, the name and the role, without the key itself.
func (k AdminKey) String() string { return fmt.Sprintf("admin key %s (%s, %s)", k.ID, k.Name, k.Role) }

// Format writes String, for any verb.
func (k AdminKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue implements slog.LogValuer.
func (k AdminKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// AdminKeys are the keys of the admin API.
type AdminKeys struct{ c *connection }

// List returns the admin keys, in the order in which they were made.
func (k AdminKeys) List(ctx context.Context) iter.Seq2[AdminKey, error] {
	return allPages[AdminKey](ctx, k.c, []string{"admin-keys"}, pageValues(500, ""))
}

// Page returns one page of the admin keys. limit is at most 500; 0: 50.
func (k AdminKeys) Page(ctx context.Context, limit int, cursor string) (*Page[AdminKey], error) {
	return getPage[AdminKey](ctx, k.c, []string{"admin-keys"}, pageValues(limit, cursor))
}

// NewAdminKey describes a key to create.
type NewAdminKey struct {
	Name      string   `json:"name"`
	Role      string   `json:"role"`
	Tenants   []string `json:"tenants,omitempty"`    // nil: all
	ExpiresAt string   `json:"expires_at,omitempty"` // a time, or a duration such as "90d"; empty: the expiry of the client's key
}

// Create creates an admin key. No other method returns the key itself.
func (k AdminKeys) Create(ctx context.Context, spec NewAdminKey) (*AdminKey, error) {
	made := &AdminKey{}
	if _, err := k.c.call(ctx, request{method: http.MethodPost, path: []string{"admin-keys"}}, spec, made); err != nil {
		return nil, err
	}
	return made, nil
}

// Revoke revokes an admin key and, if descendants is true, every key that was created
// with it, directly or through another key. It returns the ids of the keys that it
// revoked.
func (k AdminKeys) Revoke(ctx context.Context, id string, descendants bool) (revoked []string, err error) {
	r := request{method: http.MethodDelete, path: []string{"admin-keys", id}}
	if descendants {
		r.query = url.Values{"descendants": {"true"}}
	}
	var done struct {
		Revoked []string `json:"revoked"`
	}
	_, err = k.c.call(ctx, r, nil, &done)
	return done.Revoked, err
}

// Self returns the admin key of the client.
func (c *Client) Self(ctx context.Context) (*AdminKey, error) {
	key := &AdminKey{}
	if _, err := c.c.call(ctx, request{method: http.MethodGet, path: []string{"self"}, repeat: true}, nil, key); err != nil {
		return nil, err
	}
	return key, nil
}
