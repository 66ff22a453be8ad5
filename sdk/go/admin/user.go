package admin

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// User is a user of a tenant.
type User struct {
	Sub        string         `json:"sub"`
	Attributes map[string]any `json:"attributes"` // what expressions see as user
	Disabled   bool           `json:"disabled"`
	Status     UserStatus     `json:"status"`
	ETag       string         `json:"-"` // for IfMatch
}

// UserStatus is what an operator does not set.
type UserStatus struct {
	Enabled      bool              `json:"enabled"` // neither disabled nor suspended
	Suspended    bool              `json:"suspended"`
	ManagedBy    string            `json:"managed_by,omitempty"`    // "file": the server's file names the user
	AttributesBy map[string]string `json:"attributes_by,omitempty"` // who set each attribute: file, operator, or issuer and a URL
	SeenAt       *time.Time        `json:"seen_at,omitempty"`       // the last sign-in, or up to two weeks earlier
	Sessions     int               `json:"sessions"`                // live ones; 10,001 for more than 10,000
}

// ListedUser is a user in a list.
type ListedUser struct {
	Sub       string    `json:"sub"`
	Issuers   []string  `json:"issuers"`           // URLs of the trusted issuers that may speak for the user
	Subject   string    `json:"subject,omitempty"` // the sub without the prefix of those issuers
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at"`
	Sessions  int       `json:"sessions"` // live ones
	Disabled  bool      `json:"disabled"`
	Suspended bool      `json:"suspended"`
}

// UserQuery selects users. The zero value selects all.
type UserQuery struct {
	Prefix string // with which the sub begins
	Issuer string // the id or URL of a trusted issuer that may speak for them
	Limit  int    // users on a page, at most 500; default 50
	Cursor string // NextCursor of the page before
}

func (q UserQuery) values() url.Values {
	v := pageValues(q.Limit, q.Cursor)
	set(v, "q", q.Prefix)
	set(v, "issuer", q.Issuer)
	return v
}

// UserSettings are what an operator sets of a user.
type UserSettings struct {
	Attributes map[string]any `json:"attributes,omitempty"`
	Disabled   bool           `json:"disabled,omitempty"`
}

// Users are the users of tenants.
type Users struct{ c *connection }

// List returns the users of a tenant.
func (u Users) List(ctx context.Context, tenant string, q UserQuery) iter.Seq2[ListedUser, error] {
	return all[ListedUser](ctx, u.c, tenantPath(tenant, "users"), q.values())
}

// Page returns one page of the users of a tenant.
func (u Users) Page(ctx context.Context, tenant string, q UserQuery) (*Page[ListedUser], error) {
	return list[ListedUser](ctx, u.c, tenantPath(tenant, "users"), q.values())
}

// Get returns one user.
func (u Users) Get(ctx context.Context, tenant, sub string) (*User, error) {
	return u.one(ctx, request{method: http.MethodGet, path: tenantPath(tenant, "users", sub), repeat: true}, nil)
}

// Put creates a user, or replaces the attributes that operators set. Attributes
// that trusted issuers or the server's file set stay.
func (u Users) Put(ctx context.Context, tenant, sub string, settings UserSettings, conditions ...Condition) (*User, error) {
	return u.one(ctx, change(http.MethodPut, tenantPath(tenant, "users", sub), conditions), settings)
}

// Patch changes some attributes of a user, or disabled, as in
// Settings{"attributes": map[string]any{"plan": "pro"}}; nil removes an attribute
// (RFC 7396).
func (u Users) Patch(ctx context.Context, tenant, sub string, settings Settings, conditions ...Condition) (*User, error) {
	return u.one(ctx, change(http.MethodPatch, tenantPath(tenant, "users", sub), conditions), settings.body())
}

// DeletedUser is the outcome of deleting a user.
type DeletedUser struct {
	Pseudonym   string `json:"pseudonym"`              // replaces the user in the events
	Sessions    int    `json:"sessions"`               // that ended
	Suspended   bool   `json:"suspended"`              // and stays so: a user with this sub cannot sign in
	WasDisabled bool   `json:"was_disabled,omitempty"` // the deletion has removed this too
}

// Delete deletes a user and everything personal about them.
func (u Users) Delete(ctx context.Context, tenant, sub string) (*DeletedUser, error) {
	done := &DeletedUser{}
	_, err := u.c.call(ctx, request{method: http.MethodDelete, path: tenantPath(tenant, "users", sub)}, nil, done)
	if err != nil {
		return nil, err
	}
	return done, nil
}

// EndSessions signs a user out everywhere, and returns how many sessions ended.
func (u Users) EndSessions(ctx context.Context, tenant, sub string) (int, error) {
	return endSessions(ctx, u.c, request{method: http.MethodDelete, path: tenantPath(tenant, "users", sub, "sessions")})
}

// ClientTokenParams describe a client token for a user whom the caller has signed
// in.
type ClientTokenParams struct {
	Sub      string         `json:"sub"`
	AMR      []string       `json:"amr,omitempty"`       // how the user was signed in
	AuthTime int64          `json:"auth_time,omitempty"` // in Unix seconds; default: now
	ACR      string         `json:"acr,omitempty"`
	ClientID string         `json:"client_id,omitempty"` // the only client that may exchange the token; default: any
	Claims   map[string]any `json:"claims,omitempty"`
}

// ClientToken is a client token, valid once. fmt does not show it.
type ClientToken struct {
	Token     string `json:"client_token"`
	ExpiresIn int    `json:"expires_in"` // in seconds
}

// Format hides the token, for any verb.
func (ClientToken) Format(f fmt.State, _ rune) { io.WriteString(f, "client token") }

// MintClientToken makes a client token for a user whom the caller has signed in.
// The tenant needs a trusted issuer with keys.internal.
func (u Users) MintClientToken(ctx context.Context, tenant string, p ClientTokenParams) (*ClientToken, error) {
	token := &ClientToken{}
	if _, err := u.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "client-tokens")}, p, token); err != nil {
		return nil, err
	}
	return token, nil
}

func (u Users) one(ctx context.Context, r request, body any) (*User, error) {
	user := &User{}
	header, err := u.c.call(ctx, r, body, user)
	if err != nil {
		return nil, err
	}
	user.ETag = header.Get("ETag")
	return user, nil
}
