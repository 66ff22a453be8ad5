package admin

import (
	"context"
	"net/http"
	"time"
)

// SigningKey is a signing key of a tenant.
type SigningKey struct {
	Kid         string     `json:"kid"`
	Algorithm   string     `json:"algorithm"`
	State       string     `json:"state"` // announced, active, verify-only or retired
	CreatedAt   time.Time  `json:"created_at"`
	ActivatesAt time.Time  `json:"activates_at"` // when it starts to sign
	RetiredAt   *time.Time `json:"retired_at,omitempty"`
}

// SigningKeys are the signing keys of tenants.
type SigningKeys struct{ c *connection }

// List returns every signing key of a tenant, including retired keys, in the order of
// their activation.
func (k SigningKeys) List(ctx context.Context, tenant string) ([]SigningKey, error) {
	page, err := getPage[SigningKey](ctx, k.c, tenantPath(tenant, "keys"), nil)
	if err != nil {
		return nil, err
	}
	return page.Items, nil
}

// Rotate announces a new signing key and returns it.
func (k SigningKeys) Rotate(ctx context.Context, tenant string) (*SigningKey, error) {
	key := &SigningKey{}
	_, err := k.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "keys", "rotate")}, nil, key)
	if err != nil {
		return nil, err
	}
	return key, nil
}

// Retire takes a signing key out of service at once, and returns the kid of the key that
// signs from now on. The server rejects every token that the retired key has signed.
func (k SigningKeys) Retire(ctx context.Context, tenant, kid string) (signs string, err error) {
	var done struct {
		Signs string `json:"signs"`
	}
	_, err = k.c.call(ctx, request{method: http.MethodPost, path: tenantPath(tenant, "keys", kid, "retire")}, nil, &done)
	return done.Signs, err
}
