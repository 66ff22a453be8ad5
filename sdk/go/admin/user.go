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
	Attributes map[string]any `json:"attributes"` // expressions read them as user.NAME
	Disabled   bool           `json:"disabled"`
	Status     UserStatus     `json:"status"`
	ETag       string         `json:"-"` // for IfMatch
}

// UserStatus is the state of a user apart from what operators set.
type UserStatus struct {
	Enabled      bool              `json:"enabled"` // neither disabled nor suspended
	Suspended    bool              `json:"suspended"`
	ManagedBy    string            `json:"managed_by,omitempty"`    // "file": the server's file names the user
	AttributesBy map[string]string `json:"attributes_by,omitempty"` // who set each attribute: file, operator, or issuer followed by a URL
	SeenAt       *time.Time        `json:"seen_at,omitempty"`       // the last sign-in, or up to two weeks earlier
	Sessions     *int              `json:"sessions,omitempty"`      // the number of live sessions; 10,001 means more than 10,000; nil: not counted, because too many ended ones are stored
}

// ListedUser is a user in a list.
type ListedUser struct {
	Sub          string    `json:"sub"`
	Issuers      []string  `json:"issuers"`           // URLs of the trusted issuers that can sign the user in
	Subject      string    `json:"subject,omitempty"` // the sub without the subject_prefix of these issuers
	CreatedAt    time.Time `json:"created_at"`
	SeenAt       time.Time `json:"seen_at"`
	Sessions     int       `json:"sessions"`                // live ones, among up to 10 stored ones
	MoreSessions bool      `json:"more_sessions,omitempty"` // there are more stored ones
	Disabled     bool      `json:"disabled"`
	Suspended    bool      `json:"suspended"`
}

// UserQuery selects users. The zero value selects all.
type UserQuery struct {
	Prefix string // the beginning of the sub
	Issuer string // the id or the URL of a trusted issuer that can sign the users in
	// Attribute is the name and the exact value of one of the tenant's
	// searchable_attributes, as in "email:ada@example.com".
	Attribute string
	Limit     int    // users on a page, at most 500; default 50
	Cursor    string // NextCursor of the previous page
}

func (q UserQuery) values() url.Values {
	v := pageValues(q.Limit, q.Cursor)
	setParam(v, "q", q.Prefix)
	setParam(v, "issuer", q.Issuer)
	setParam(v, "attribute", q.Attribute)
	return v
}

// UserSettings are the settings of a user.
type UserSettings struct {
	Attributes map[string]any `json:"attributes,omitempty"`
	Disabled   bool           `json:"disabled,omitempty"`
}

// Users are the users of tenants.
type Users struct{ c *connection }

// List returns the users of a tenant.
func (u Users) List(ctx context.Context, tenant string, q UserQuery) iter.Seq2[ListedUser, error] {
	return allPages[ListedUser](ctx, u.c, tenantPath(tenant, "users"), q.values())
}

// Page returns one page of the users of a tenant.
func (u Users) Page(ctx context.Context, tenant string, q UserQuery) (*Page[ListedUser], error) {
	return getPage[ListedUser](ctx, u.c, tenantPath(tenant, "users"), q.values())
}

// Get returns a user.
func (u Users) Get(ctx context.Context, tenant, sub string) (*User, error) {
	return u.one(ctx, request{method: http.MethodGet, path: tenantPath(tenant, "users", sub), repeat: true}, nil)
}

// Put creates a user, or replaces the attributes that operators set. It keeps the
// attributes that trusted issuers and the server's file set.
func (u Users) Put(ctx context.Context, tenant, sub string, settings UserSettings, conditions ...Condition) (*User, error) {
	return u.one(ctx, changeRequest(http.MethodPut, tenantPath(tenant, "users", sub), conditions), settings)
}

// Patch changes some attributes of a user, or disabled, as in
// Settings{"attributes": map[string]any{"plan": "pro"}}; nil removes an attribute
// (RFC 7396).
func (u Users) Patch(ctx context.Context, tenant, sub string, settings Settings, conditions ...Condition) (*User, error) {
	return u.one(ctx, changeRequest(http.MethodPatch, tenantPath(tenant, "users", sub), conditions), settings.body())
}

// DeletedUser is the result of deleting a user.
type DeletedUser struct {
	Pseudonym   string `json:"pseudonym"`              // replaces the sub in events
	Sessions    int    `json:"sessions"`               // the number of sessions that ended
	Suspended   bool   `json:"suspended"`              // the suspension remains: a user with this sub cannot sign in
	WasDisabled bool   `json:"was_disabled,omitempty"` // the deletion removed this too: a user with this sub can sign in

	Receivers []string `json:"receivers,omitempty"` // ids of the event destinations that may have received events about the user
}

// Delete deletes a user and their personal data.
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
	AMR      []string       `json:"amr,omitempty"`       // the methods by which the user signed in
	AuthTime int64          `json:"auth_time,omitempty"` // in Unix seconds; default: now
	ACR      string         `json:"acr,omitempty"`
	ClientID string         `json:"client_id,omitempty"` // the only client that may exchange the token; default: any
	Claims   map[string]any `json:"claims,omitempty"`
}

// ClientToken is a client token. It can be used once. fmt does not print it.
type ClientToken struct {
	Token     string `json:"client_token"`
	ExpiresIn int    `json:"expires_in"` // in seconds
}

// Format hides the token, for any verb.
func (ClientToken) Format(f fmt.State, _ rune) { io.WriteString(f, "client token") }

// MintClientToken mints a client token for a user whom the caller has signed in.
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
