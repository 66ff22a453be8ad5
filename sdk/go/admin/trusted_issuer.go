package admin

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// TrustedIssuer is an issuer whose client tokens a tenant accepts.
type TrustedIssuer struct {
	ID       string   // of the entry
	Settings Settings // as they were written, without secrets
	Status   TrustedIssuerStatus
	ETag     string // for IfMatch; empty in lists
}

// TrustedIssuerStatus is the state of a trusted issuer apart from its settings.
type TrustedIssuerStatus struct {
	Enabled      bool       `json:"enabled"` // it is neither disabled nor suspended
	SuspendedAt  *time.Time `json:"suspended_at,omitempty"`
	ManagedBy    string     `json:"managed_by,omitempty"` // "file": only the server's file can change its settings
	SharedSecret bool       `json:"shared_secret"`        // it has a shared secret
	CreatedAt    time.Time  `json:"created_at"`
	UpdatedAt    time.Time  `json:"updated_at"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *TrustedIssuer) UnmarshalJSON(text []byte) error {
	return decodeResource(text, &i.ID, &i.Settings, &i.Status)
}

// MarshalJSON implements json.Marshaler.
func (i TrustedIssuer) MarshalJSON() ([]byte, error) {
	return encodeResource(i.ID, i.Settings, i.Status)
}

// TrustedIssuers are the trusted issuers of tenants.
type TrustedIssuers struct{ c *connection }

// List returns the trusted issuers of a tenant.
func (t TrustedIssuers) List(ctx context.Context, tenant string, q ListQuery) iter.Seq2[TrustedIssuer, error] {
	return allPages[TrustedIssuer](ctx, t.c, tenantPath(tenant, "trusted-issuers"), q.values())
}

// Page returns one page of the trusted issuers of a tenant.
func (t TrustedIssuers) Page(ctx context.Context, tenant string, q ListQuery) (*Page[TrustedIssuer], error) {
	return getPage[TrustedIssuer](ctx, t.c, tenantPath(tenant, "trusted-issuers"), q.values())
}

// Get returns a trusted issuer.
func (t TrustedIssuers) Get(ctx context.Context, tenant, id string) (*TrustedIssuer, error) {
	return t.one(ctx, request{method: http.MethodGet, path: tenantPath(tenant, "trusted-issuers", id), repeat: true}, nil)
}

// Put creates a trusted issuer or replaces its settings. Settings that are left out get
// their defaults. A stored shared secret is kept if keys is left out.
func (t TrustedIssuers) Put(ctx context.Context, tenant, id string, settings Settings, conditions ...Condition) (*TrustedIssuer, error) {
	return t.one(ctx, changeRequest(http.MethodPut, tenantPath(tenant, "trusted-issuers", id), conditions), settings.body())
}

// Patch changes some settings of a trusted issuer; nil restores a default (RFC
// 7396).
func (t TrustedIssuers) Patch(ctx context.Context, tenant, id string, settings Settings, conditions ...Condition) (*TrustedIssuer, error) {
	return t.one(ctx, changeRequest(http.MethodPatch, tenantPath(tenant, "trusted-issuers", id), conditions), settings.body())
}

// Delete removes a trusted issuer and ends the sessions that began with it.
func (t TrustedIssuers) Delete(ctx context.Context, tenant, id string, conditions ...Condition) error {
	_, err := t.c.call(ctx, changeRequest(http.MethodDelete, tenantPath(tenant, "trusted-issuers", id), conditions), nil, nil)
	return err
}

// IssuerCheck is the result of checking a trusted issuer.
type IssuerCheck struct {
	OK      bool   `json:"ok"`      // its tokens can be verified now
	Verdict string `json:"verdict"` // ok, unreachable or misconfigured
	Detail  string `json:"detail"`
}

// Check fetches the metadata and the keys of a trusted issuer now.
func (t TrustedIssuers) Check(ctx context.Context, tenant, id string) (*IssuerCheck, error) {
	check := &IssuerCheck{}
	_, err := t.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "trusted-issuers", id, "check"), repeat: true}, nil, check)
	if err != nil {
		return nil, err
	}
	return check, nil
}

func (t TrustedIssuers) one(ctx context.Context, r request, body any) (*TrustedIssuer, error) {
	issuer := &TrustedIssuer{}
	header, err := t.c.call(ctx, r, body, issuer)
	if err != nil {
		return nil, err
	}
	issuer.ETag = header.Get("ETag")
	return issuer, nil
}
